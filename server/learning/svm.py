"""Support vector machines: training by scikit-learn, application by NumPy (entity-types.md §3.16, §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.archive import Archive, ModelFile, pack
from server.learning.fit_progress import LIBSVM_ITERATIONS, libsvm_dots_told
from server.learning.saved import FLOATS, WHOLE, member, require

SvmType = Literal["classification", "nu-classification", "one class", "regression", "nu-regression"]
Kernel = Literal["linear", "poly", "rbf", "sigmoid"]
Floats = NDArray[np.float64]

KIND = "svm"
_CLASSIFIERS = ("classification", "nu-classification")


@dataclass(frozen=True)
class Settings:
    """What libsvm is told; ``gamma`` None is one divided by the number of features."""

    kernel: Kernel = "rbf"
    degree: int = 3
    coef0: float = 0.0
    eps: float = 1e-3
    C: float = 1.0
    gamma: float | None = None
    nu: float = 0.5
    p: float = 0.1
    shrinking: bool = True


@dataclass(frozen=True)
class SvmModel:
    """Support vectors and their weights. ``sizes``: how many belong to each class, ``labels`` the classes."""

    type: SvmType
    columns: list[str]
    kernel: Kernel
    degree: int
    coef0: float
    gamma: float
    vectors: Floats
    weights: Floats
    offsets: Floats
    sizes: NDArray[np.int64]
    labels: Floats

    def apply(self, points: Floats) -> Floats:
        """Label, value, or for one class 1 (inside) and -1 of each point."""
        if self.type in _CLASSIFIERS:
            chosen: Floats = self.labels[self._votes(self._kernel(points))]
            return chosen
        values: Floats = self._kernel(points) @ self.weights[0] + self.offsets[0]
        return np.where(values > 0, 1.0, -1.0) if self.type == "one class" else values

    def _kernel(self, points: Floats) -> Floats:
        if self.kernel == "rbf":
            squares = (points**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1) - 2 * points @ self.vectors.T
            near: Floats = np.exp(-self.gamma * np.maximum(squares, 0))
            return near
        products: Floats = points @ self.vectors.T
        return _PRODUCT_KERNELS[self.kernel](self, products)

    def _votes(self, kernel: Floats) -> NDArray[np.int64]:
        """The class that wins most of the duels of all pairs; of equal ones the first."""
        count = len(self.labels)
        ends = np.concatenate([[0], np.cumsum(self.sizes)])
        votes = np.zeros((len(kernel), count), np.int64)
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        for number, (a, b) in enumerate(pairs):
            of_a, of_b = slice(ends[a], ends[a + 1]), slice(ends[b], ends[b + 1])
            value = kernel[:, of_a] @ self.weights[b - 1, of_a] + kernel[:, of_b] @ self.weights[a, of_b]
            votes[np.arange(len(kernel)), np.where(value + self.offsets[number] > 0, a, b)] += 1
        winners: NDArray[np.int64] = votes.argmax(axis=1)
        return winners

    def describe(self) -> dict[str, Any]:
        """The model in JSON, for people."""
        told = {name: getattr(self, name) for name in ("type", "kernel", "degree", "coef0", "gamma", "columns")}
        return told | {"vectors": len(self.vectors), "labels": self.labels.tolist()}

    def to_bytes(self, origin: Mapping[str, Any]) -> bytes:
        archive = Archive()
        for name in ("vectors", "weights", "offsets", "sizes", "labels"):
            archive.put(name, getattr(self, name))
        body = {name: getattr(self, name) for name in ("type", "columns", "kernel", "degree", "coef0", "gamma")}
        return pack(KIND, body, archive, origin)

    @classmethod
    def of(cls, file: ModelFile) -> SvmModel:
        body, archive = file.body, file.archive
        type_ = member(body, "type", SvmType)
        columns = member(body, "columns", list[str])
        vectors = archive.get("vectors", FLOATS, None, len(columns))
        labels = archive.get("labels", FLOATS, None)
        require((len(labels) > 1) == (type_ in _CLASSIFIERS), "it has labels of another type")
        # Of two classes there is one duel with one row of weights; of one or none there is one row as well.
        rows, duels = max(len(labels) - 1, 1), max(len(labels) * (len(labels) - 1) // 2, 1)
        sizes = archive.get("sizes", WHOLE, None)
        if type_ in _CLASSIFIERS:
            sizes = archive.get("sizes", WHOLE, len(labels))
            require((sizes >= 0).all() and sizes.sum() == len(vectors), "its classes have other support vectors")
        return cls(
            type_,
            columns,
            member(body, "kernel", Kernel),
            member(body, "degree", int),
            member(body, "coef0", float),
            member(body, "gamma", float),
            vectors,
            archive.get("weights", FLOATS, rows, len(vectors)),
            archive.get("offsets", FLOATS, duels),
            sizes,
            labels,
        )


_PRODUCT_KERNELS: Mapping[Kernel, Callable[[SvmModel, Floats], Floats]] = {
    "linear": lambda model, products: products,
    "poly": lambda model, products: (model.gamma * products + model.coef0) ** model.degree,
    "sigmoid": lambda model, products: np.tanh(model.gamma * products + model.coef0),
}


def train_svm(
    columns: list[str],
    points: Floats,
    labels: Floats,
    type_: SvmType,
    settings: Settings,
    iterations: Callable[[int], None] = lambda _: None,
) -> SvmModel:
    """Fit by libsvm. Points are used as they are, unscaled. ``MldbError`` for data it cannot be fitted to.

    ``iterations`` hears in a thread how many there were, about; how many there will be nobody knows.
    """
    gamma = 1 / max(len(columns), 1) if settings.gamma is None else settings.gamma
    classes, numbers = np.unique(labels, return_inverse=True) if type_ in _CLASSIFIERS else (labels[:0], labels)
    if type_ in _CLASSIFIERS and len(classes) < 2:
        raise MldbError("svm.train needs rows of at least two labels to tell apart")
    machine = _machine(type_, settings, gamma)
    each = min(LIBSVM_ITERATIONS, len(points))
    try:
        with libsvm_dots_told(lambda dots: iterations(dots * each)):
            machine.fit(points, numbers)
    except ValueError as error:
        raise MldbError(f"svm.train: {error}") from None
    weights, offsets = np.asarray(machine.dual_coef_), np.asarray(machine.intercept_)
    if len(classes) == 2:  # scikit-learn turns the sign of a single duel round
        weights, offsets = -weights, -offsets
    return SvmModel(
        type_, columns, settings.kernel, settings.degree, settings.coef0, gamma, np.asarray(machine.support_vectors_),
        weights, offsets, np.asarray(machine.n_support_, np.int64), np.asarray(classes, np.float64),
    )  # fmt: skip


def _machine(type_: SvmType, settings: Settings, gamma: float) -> Any:
    from sklearn import svm

    common = {
        "kernel": settings.kernel, "degree": settings.degree, "coef0": settings.coef0, "gamma": gamma,
        "tol": settings.eps, "shrinking": settings.shrinking, "verbose": True,
    }  # fmt: skip
    match type_:
        case "classification":
            return svm.SVC(C=settings.C, **common)
        case "nu-classification":
            return svm.NuSVC(nu=settings.nu, **common)
        case "one class":
            return svm.OneClassSVM(nu=settings.nu, **common)
        case "regression":
            return svm.SVR(C=settings.C, epsilon=settings.p, **common)
        case "nu-regression":
            return svm.NuSVR(C=settings.C, nu=settings.nu, **common)
