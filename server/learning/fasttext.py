"""fastText's supervised bag of words, as the 2016 library trains it on one thread (entity-types.md §6.7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.attribution import log_softmax_gradient, mean_gradient
from server.learning.configurations import FastText
from server.learning.examples import Examples, Explanation, Tick
from server.learning.matrix import Floats, Matrix, Sparse, dense_chunks
from server.learning.model_types import model_type
from server.learning.saved import FLOATS, WHOLE, checked, places

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace

_RATE = np.float32(0.05)
_NEGATIVES = 5
_UNPUBLISHED = 100  # tokens that are counted before the learning rate hears of them
_TABLE = 512
_MAX_SIGMOID = 8
_MODULUS = 2**31 - 1
_MULTIPLIER = 48271
_MOST_OF_A_WORD = 1_000_000  # times in one row: training goes over each of them


@model_type
@dataclass(frozen=True)
class FastTextModel:
    """A vector per word (``inputs``) and per label (``outputs``).

    ``texts`` are features that hold texts, not counts: each is one word, there or not.
    """

    inputs: Floats
    outputs: Floats
    texts: NDArray[np.int64]
    type = "fasttext"

    def scores(self, matrix: Matrix) -> Floats:
        rows = [_score(self, words, counts) for words, counts in _word_counts(matrix, self.texts)]
        return np.array(rows, np.float32).reshape(-1, len(self.outputs))

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """How near each word is to the label, as MLDB tells it: not the logarithm that the score is."""
        used = ~np.isnan(matrix)
        weights = np.where(used, self.inputs @ self.outputs[label], 0).astype(np.float32)
        return Explanation(np.zeros(len(matrix), np.float32), weights, used)

    def explain_score(self, matrix: Floats, label: int) -> Explanation:
        """The score itself: each word's share of it. The bias is that of no evidence, rounded as scores are."""
        weights, used = np.zeros(matrix.shape, np.float64), np.zeros(matrix.shape, np.bool_)
        bias = self.scores(matrix)[:, label].astype(np.float64)
        for row, (words, counts) in enumerate(_word_counts(matrix, self.texts)):
            if len(words):
                parts = self.inputs[words].astype(np.float64) @ self.outputs.T.astype(np.float64)
                parts *= (counts / counts.sum())[:, None]
                moved = parts.sum(axis=0)[None]
                slope = mean_gradient(np.zeros(len(self.outputs)), moved, log_softmax_gradient(label))
                weights[row, words], used[row, words] = parts @ slope[0], True
        bias -= weights.sum(axis=1)
        return Explanation(bias.astype(np.float32), weights.astype(np.float32), used)

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        words = [feature.name for feature in space.features]
        return {"type": "FASTTEXT", "params": {"dims": self.inputs.shape[1], "words": words}}

    def save(self, archive: Archive) -> dict[str, Any]:
        archive.put("inputs", self.inputs)
        archive.put("outputs", self.outputs)
        archive.put("texts", self.texts)
        return {}

    @classmethod
    def load(cls, _state: Mapping[str, Any], archive: Archive, /) -> FastTextModel:
        inputs = archive.get("inputs", FLOATS, None, None)
        outputs = archive.get("outputs", FLOATS, None, inputs.shape[1])
        return cls(inputs, outputs, places("texts", archive.get("texts", WHOLE, None), len(inputs)))

    def check(self, space: FeatureSpace, labels: int) -> None:
        checked("inputs", self.inputs, FLOATS, (len(space), None))
        checked("outputs", self.outputs, FLOATS, (labels, None))


def _score(model: FastTextModel, words: NDArray[Any], counts: Floats) -> Floats:
    """Logarithms of the labels' probabilities, as coarse as the library's table; 0 without a known word."""
    if not len(words):
        return np.zeros(len(model.outputs), np.float32)
    predictor = model.outputs @ _hidden(model.inputs, words, counts)
    chances = np.exp(predictor - predictor.max())
    chances /= chances.sum(dtype=np.float32)
    step = np.floor(chances * np.float32(_TABLE))
    return np.asarray(np.log((step + 1e-5) / _TABLE), np.float32)


def _hidden(inputs: Floats, words: NDArray[Any], counts: Floats) -> Floats:
    """The mean of the words' vectors, each as often as it occurs."""
    total = (inputs[words] * counts[:, None]).sum(axis=0, dtype=np.float32)
    return np.asarray(total * np.float32(1.0 / counts.sum()))


def _word_counts(matrix: Matrix, texts: NDArray[np.int64]) -> Iterator[tuple[NDArray[Any], Floats]]:
    """Word numbers and how often each occurs (a value rounded up), row by row."""
    if isinstance(matrix, Sparse):
        counts = np.where(np.isin(matrix.columns, texts), np.float32(1), np.ceil(matrix.values))
        for begin, end in zip(matrix.starts[:-1], matrix.starts[1:], strict=True):
            keep = counts[begin:end] > 0
            yield matrix.columns[begin:end][keep], counts[begin:end][keep]
        return
    for _, chunk in dense_chunks(matrix):
        for given in chunk:
            row = given.copy()
            row[texts] = np.where(np.isnan(given[texts]), np.nan, 1)
            words = np.flatnonzero(row > 0)
            yield words, np.ceil(row[words])


def train_fasttext(config: FastText, examples: Examples, rng: np.random.Generator, tick: Tick) -> FastTextModel:
    """Train on word counts; ``MldbError`` in regression and with one label."""
    _check(examples)
    space = examples.space
    order = np.argsort(np.array([feature.hash for feature in space.features], np.uint64), kind="stable")
    inputs = np.empty((len(space), config.dims), np.float32)
    inputs[order] = _uniform(len(space), config.dims)
    texts = np.array([at for at, feature in enumerate(space.features) if feature.categories is not None], np.int64)
    model = FastTextModel(inputs, np.zeros((examples.label_count, config.dims), np.float32), texts)
    rows = list(_word_counts(examples.matrix, texts))
    if max((float(counts.max(initial=0)) for _, counts in rows), default=0) > _MOST_OF_A_WORD:
        raise MldbError(
            f"FastText classifiers count words, at most {_MOST_OF_A_WORD} of one in a row: the features are no counts"
        )
    present = _present_counts(examples.matrix)
    negatives = _Negatives(np.bincount(examples.labels, minlength=examples.label_count), rng)
    wanted = config.epoch * _tokens(examples)
    published, waiting, at = 0, 0, 0
    while published < wanted:
        rate = _RATE * np.float32(1 - np.float32(published) / np.float32(wanted))
        words, counts = rows[at]
        if len(words):
            _update(model, words, counts, int(examples.labels[at]), rate, negatives)
        waiting += int(present[at]) + 2
        if waiting > _UNPUBLISHED:
            published, waiting = published + waiting, 0
            tick(min(published / wanted, 1.0))
        at = (at + 1) % len(rows)
    return model


def _check(examples: Examples) -> None:
    if examples.regression:
        raise MldbError("FastText classifier does not currently support regression mode")
    if examples.label_count < 2 or len(np.unique(examples.labels)) < 2:
        raise MldbError("FastText classifiers need at least two different labels to learn from")


def _present_counts(matrix: Matrix) -> NDArray[np.int64]:
    if isinstance(matrix, Sparse):
        return np.diff(matrix.starts)
    return np.concatenate([(~np.isnan(chunk)).sum(axis=1) for _, chunk in dense_chunks(matrix)])


def _tokens(examples: Examples) -> int:
    """All word values and row weights, each cut to an integer; at least one, as training must end."""
    matrix = examples.matrix
    values = matrix.values if isinstance(matrix, Sparse) else np.nan_to_num(matrix)
    return max(int(np.trunc(values).sum(dtype=np.float64)) + int(np.trunc(examples.row_weights).sum()), 1)


def _uniform(words: int, dims: int) -> Floats:
    """The start of the word vectors: uniform over +-1/dims from the minimal standard generator, seed 1."""
    draws = _minimal_standard(2 * words * dims).astype(np.float64) - 1
    spread = float(_MODULUS - 1)
    canonical = (draws[0::2] + draws[1::2] * spread) / (spread * spread)
    limit = float(np.float32(1.0 / dims))
    return (canonical * (2 * limit) - limit).astype(np.float32).reshape(words, dims)


def _minimal_standard(count: int) -> NDArray[np.int64]:
    """x <- 48271 x mod 2^31-1 from 1: a block after another, each the block before times a power."""
    out = np.empty(max(count, 1), np.int64)
    out[0] = _MULTIPLIER % _MODULUS
    done = 1
    while done < count:
        step = min(done, count - done)
        factor = pow(_MULTIPLIER, done, _MODULUS)
        out[done : done + step] = out[:step] * factor % _MODULUS
        done += step
    return out[:count]


class _Negatives:
    """Labels drawn in proportion to the square root of their counts."""

    def __init__(self, counts: NDArray[Any], rng: np.random.Generator) -> None:
        self.bounds = np.cumsum(np.sqrt(counts.astype(np.float64)))
        self.two = len(counts) == 2
        self.rng = rng

    def draw(self, right: int) -> Iterator[int]:
        for _ in range(_NEGATIVES):
            label = 1 - right if self.two else right
            while label == right:
                label = int(np.searchsorted(self.bounds, self.rng.random() * self.bounds[-1], side="right"))
            yield label


def _update(
    model: FastTextModel, words: NDArray[Any], counts: Floats, right: int, rate: np.float32, negatives: _Negatives
) -> None:
    hidden = _hidden(model.inputs, words, counts)
    gradient = np.zeros_like(hidden)
    for number, label in enumerate([right, *negatives.draw(right)]):
        target = np.float32(1.0 if number == 0 else 0.0)
        vector = model.outputs[label]
        alpha = rate * (target - _sigmoid(vector @ hidden))
        gradient += alpha * vector
        vector += alpha * hidden
    gradient *= np.float32(1.0 / counts.sum())
    model.inputs[words] += gradient * counts[:, None]


def _sigmoid(x: np.float32) -> np.float32:
    """The library's table: x rounded down to a multiple of 1/32."""
    if x < -_MAX_SIGMOID:
        return np.float32(0)
    if x > _MAX_SIGMOID:
        return np.float32(1)
    step = int((x + _MAX_SIGMOID) * _TABLE / _MAX_SIGMOID / 2)
    return np.float32(1 / (1 + np.exp(-(step * 2 * _MAX_SIGMOID / _TABLE - _MAX_SIGMOID))))
