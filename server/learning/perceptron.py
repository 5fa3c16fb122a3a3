"""Feed-forward neural networks; trained by scikit-learn, applied with NumPy (entity-types.md §6.3)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from server.errors import MldbError
from server.learning.attribution import Gradient, mean_gradient, settled, softmax_gradient
from server.learning.configurations import Activation, Perceptron
from server.learning.design import Columns, columns_for, expand
from server.learning.examples import Examples, Explanation, Tick
from server.learning.fit_progress import watched
from server.learning.glm import Doubles
from server.learning.matrix import Floats, Matrix, dense_chunks
from server.learning.model_types import model_type
from server.learning.saved import FLOATS, member, require

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace

Output = Literal["softmax", "logistic", "identity"]  # logistic: two labels from one output

_ACTIVATIONS: dict[Activation, tuple[str, Callable[[Doubles], Doubles]]] = {
    "logsig": ("logistic", lambda x: 1 / (1 + np.exp(-x))),
    "tanh": ("tanh", np.tanh),
    "tanhs": ("tanh", np.tanh),
    "identity": ("identity", lambda x: x),
    "softmax": ("tanh", np.tanh),
    "nonstandard": ("relu", lambda x: np.maximum(x, 0)),
}
# Derivatives, by what the activation gave.
_SLOPES: dict[str, Callable[[Doubles], Doubles]] = {
    "logsig": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "tanhs": lambda y: 1 - y * y,
    "identity": np.ones_like,
    "softmax": lambda y: 1 - y * y,
    "nonstandard": lambda y: (y > 0).astype(np.float64),
}
_MAX_WHITENED = 1024  # columns up to which inputs are decorrelated
_FLAT = 1e-10  # share of the variance below which a direction is noise
_SEED = 0


@model_type
@dataclass(frozen=True)
class PerceptronModel:
    """Layers of (weights [in, out], biases); ``output`` says what the last one's sums become."""

    columns: Columns
    layers: list[tuple[Doubles, Doubles]]
    activation: Activation
    output: Output
    type = "perceptron"

    def scores(self, matrix: Matrix) -> Floats:
        return np.concatenate(
            [self._scores(expand(chunk, self.columns)) for _, chunk in dense_chunks(matrix)]
            or [np.zeros((0, 1), np.float32)]
        )

    def _scores(self, x: Doubles) -> Floats:
        scale, offset = self.layers[0]
        weights, biases = self.layers[1]
        return self._outputs((x @ scale + offset) @ weights + biases).astype(np.float32)

    def _activations(self, sums: Doubles) -> list[Doubles]:
        """What each hidden layer makes of its sums, from those of the first on; at the end the last layer's sums."""
        activate = _ACTIVATIONS[self.activation][1]
        found: list[Doubles] = []
        for weights, biases in self.layers[2:]:
            found.append(activate(sums))
            sums = found[-1] @ weights + biases
        return [*found, sums]

    def _outputs(self, sums: Doubles) -> Doubles:
        """A number per label, from the sums of the first layer (the one before only scales the inputs)."""
        x = self._activations(sums)[-1]
        if self.output == "softmax":
            x = np.exp(x - x.max(axis=1, keepdims=True))
            x /= x.sum(axis=1, keepdims=True)
        elif self.output == "logistic":
            x = 1 / (1 + np.exp(-x))
            x = np.concatenate([1 - x, x], axis=1)
        return x

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """The bias is the score of an average row; a feature's weight is what its distance from there adds."""
        into, start = self.layers[0][0] @ self.layers[1][0], self.layers[1][1]
        design = expand(matrix, self.columns) - self._mean
        moved = design @ into
        by_column = design * (mean_gradient(start, moved, self._gradient(label)) @ into.T)
        weights = np.zeros(matrix.shape)
        np.add.at(weights.T, self.columns.feature, by_column.T)
        bias = self._outputs(start[None])[0, label]
        weights = settled(weights, self._outputs(start + moved)[:, label] - bias)
        used = np.zeros(matrix.shape, np.bool_)
        used[:, self.columns.feature] = True  # a missing value takes part as 0
        return Explanation(np.full(len(matrix), bias, np.float32), weights.astype(np.float32), used)

    @cached_property
    def _mean(self) -> Doubles:
        """The average row, which the first layer moves to 0."""
        scale, offset = self.layers[0]
        if len(scale) == len(offset) and not scale[~np.eye(len(scale), dtype=bool)].any():
            return np.asarray(-offset / np.diag(scale))
        # Columns that depend on one another leave a choice of means; all give the same scores.
        return np.asarray(np.linalg.lstsq(scale.T, -offset, rcond=None)[0])

    def _gradient(self, label: int) -> Gradient:
        """How a label's score changes with the sums of the first layer, which are linear in the inputs."""
        slope = _SLOPES[self.activation]

        def gradient(sums: Doubles) -> Doubles:
            found = self._activations(sums)
            out = self._output_gradient(found[-1], label)
            for number in range(len(self.layers) - 1, 1, -1):
                out = out @ self.layers[number][0].T * slope(found[number - 2])
            return out

        return gradient

    def _output_gradient(self, last: Doubles, label: int) -> Doubles:
        if self.output == "softmax":
            return softmax_gradient(label)(last)
        if self.output == "logistic":
            chance = 1 / (1 + np.exp(-last))
            return chance * (1 - chance) * (1 if label else -1)
        out = np.zeros_like(last)
        out[:, label] = 1
        return out

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        layers = [{"weights": weights.tolist(), "bias": biases.tolist()} for weights, biases in self.layers]
        names = [space.features[feature].name for feature in self.columns.feature]
        params = {"features": names, "activation": self.activation, "output": self.output, "layers": layers}
        return {"type": "PERCEPTRON", "params": params}

    def save(self, archive: Archive) -> dict[str, Any]:
        self.columns.save(archive)
        for number, (weights, biases) in enumerate(self.layers):
            archive.put(f"{number}.weights", weights)
            archive.put(f"{number}.biases", biases)
        return {"layers": len(self.layers), "activation": self.activation, "output": self.output}

    @classmethod
    def load(cls, state: Mapping[str, Any], archive: Archive) -> PerceptronModel:
        columns = Columns.load(archive)
        layers: list[tuple[Doubles, Doubles]] = []
        width = len(columns)
        for number in range(member(state, "layers", int)):
            weights = archive.get(f"{number}.weights", FLOATS, width, None)
            width = weights.shape[1]
            layers.append((weights, archive.get(f"{number}.biases", FLOATS, width)))
        require(len(layers) > 1, "it has no layers")
        return cls(columns, layers, member(state, "activation", Activation), member(state, "output", Output))

    def check(self, space: FeatureSpace, labels: int) -> None:
        self.columns.check(space)
        last = len(self.layers[-1][1])
        require((labels, last) == (2, 1) if self.output == "logistic" else labels == last, "it scores other labels")


def train_perceptron(
    config: Perceptron,
    examples: Examples,
    rng: np.random.Generator,
    tick: Tick,
) -> PerceptronModel:
    """Train a network; scores are probabilities, in regression the number."""
    columns = columns_for(examples.space)
    design = np.concatenate([expand(chunk, columns) for _, chunk in dense_chunks(examples.matrix)])
    if not design.shape[1]:
        raise MldbError("A perceptron needs at least one feature that has a value in some row")
    scaling = _input_layer(config, design)
    network = _network(config, examples, design.shape[1])
    weights = examples.row_weights * np.float32(len(examples))
    with warnings.catch_warnings():
        # Ending at max_iter is what was asked for.
        warnings.simplefilter("ignore")
        try:
            with watched(lambda: tick(len(getattr(network, "loss_curve_", ())) / config.max_iter)):
                network.fit(design @ scaling[0] + scaling[1], examples.labels, sample_weight=weights)
        except ValueError as error:  # of numbers that grew without bounds
            raise MldbError(f"The perceptron could not be trained; lower its learning_rate: {error}") from None
    tick(1.0)
    layers = [scaling, *zip(network.coefs_, network.intercepts_, strict=True)]
    return PerceptronModel(
        columns, _all_labels(layers, network, examples), config.activation, _output(network, examples)
    )


def _input_layer(config: Perceptron, design: Doubles) -> tuple[Doubles, Doubles]:
    """The affine map that scales (and whitens) the inputs."""
    width = design.shape[1]
    mean = design.mean(axis=0)
    if config.decorrelate and width <= _MAX_WHITENED and len(design) > width:
        values, vectors = np.linalg.eigh(np.cov(design, rowvar=False).reshape(width, width))
        keep = values > _FLAT * max(values.max(initial=0), 1e-300)
        rotation = vectors[:, keep] / np.sqrt(values[keep])
        if keep.any():
            return rotation, -mean @ rotation
    deviation = design.std(axis=0) if config.normalize else np.ones(width)
    scale = np.diag(1 / np.where(deviation > 0, deviation, 1.0))
    return scale, -mean @ scale


def _network(config: Perceptron, examples: Examples, inputs: int) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    batch = config.batch_size if config.batch_size >= 1 else config.batch_size * len(examples)
    kind = MLPRegressor if examples.regression else MLPClassifier
    return kind(
        hidden_layer_sizes=_hidden_sizes(config.arch, inputs, examples.label_count),
        activation=_ACTIVATIONS[config.activation][0],
        learning_rate_init=abs(config.learning_rate),
        max_iter=config.max_iter,
        n_iter_no_change=max(config.min_iter, 10),
        batch_size=max(1, min(int(batch), len(examples))),
        random_state=_SEED,
    )


def _hidden_sizes(arch: str, inputs: int, outputs: int) -> tuple[int, ...]:
    try:
        sizes = [int(part.replace("%i", str(inputs)).replace("%o", str(outputs))) for part in arch.split("_") if part]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise MldbError(f"Invalid perceptron arch '{arch}': it is a list of layer sizes such as 50, 10_5 or %i")
    return tuple(sizes)


def _output(network: Any, examples: Examples) -> Output:
    if examples.regression:
        return "identity"
    return "softmax" if len(network.classes_) != 2 or examples.label_count != 2 else "logistic"


def _all_labels(layers: list[Any], network: Any, examples: Examples) -> list[tuple[Doubles, Doubles]]:
    """Layers whose last has an output per label, labels without any example included."""
    layers = [(np.asarray(weights, np.float64), np.asarray(biases, np.float64)) for weights, biases in layers]
    count = examples.label_count
    if examples.regression or (len(network.classes_) == 2 and count == 2):
        return layers
    weights, biases = layers[-1]
    if len(network.classes_) == 2:
        weights, biases = np.concatenate([-weights, weights], 1) / 2, np.concatenate([-biases, biases]) / 2
    elif len(network.classes_) == 1:
        weights, biases = np.zeros((len(weights), 1)), np.zeros(1)
    full, full_biases = np.zeros((len(weights), count)), np.full(count, -30.0)
    full[:, network.classes_], full_biases[network.classes_] = weights, biases
    return [*layers[:-1], (full, full_biases)]
