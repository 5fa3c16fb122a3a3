"""Which features a trained classifier goes by, told from the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from server.learning.committee import Committee
from server.learning.fasttext import FastTextModel
from server.learning.glz import GlzModel
from server.learning.naive_bayes import NaiveBayesModel
from server.learning.one_vs_all import OneVsAllModel
from server.learning.perceptron import PerceptronModel
from server.learning.trees import TreeEnsemble

if TYPE_CHECKING:
    from server.learning.classifier import Classifier
    from server.learning.examples import Model

Doubles = NDArray[np.float64]
_SPLITS = "How far the splits on a feature tell labels apart, weighted by the examples that come to them; in all 1."
_EVIDENCE = "How far a feature can move the labels' logarithms of probability apart. In all 1."
_PATHS = "Sizes of the weights of a feature, each times those that lead on from it, and its spread. In all 1."
_WORDS = "How far a word's nearness to the labels differs between them. In all 1."
_WEIGHTS = "Sizes of the weights of a feature; one with larger values has smaller weights. In all 1."


@dataclass(frozen=True)
class Importance:
    """Shares that add up to 1, a number per feature, and in words how they were measured."""

    measure: str
    shares: Doubles


def importance_of(model: Model, features: int) -> Importance | None:
    """How much each feature counts; None for kinds of models that do not tell."""
    match model:
        case TreeEnsemble():
            return Importance(_SPLITS, _shares(_split_gains(model, features)))
        case GlzModel():
            return Importance(_WEIGHTS, _shares(_weight_sizes(model, features)))
        case NaiveBayesModel():
            return Importance(_EVIDENCE, _shares(_evidence(model, features)))
        case PerceptronModel():
            return Importance(_PATHS, _shares(_path_sizes(model, features)))
        case FastTextModel():
            return Importance(_WORDS, _shares(_differences(model)))
        case Committee():
            return _of_members(model.members, np.abs(model.weights), features)
        case OneVsAllModel():
            return _of_members(model.members, np.ones(len(model.members)), features)
    return None


def described(classifier: Classifier) -> dict[str, Any]:
    """As JSON: ``{"measure", "features": [[name, share], …]}``, the largest first, without features not used.

    A model that does not tell has the measure null and no features.
    """
    found = importance_of(classifier.model, len(classifier.space.features))
    if found is None:
        return {"measure": None, "features": []}
    order = np.argsort(-found.shares, kind="stable")
    named = [[classifier.space.features[at].name, float(found.shares[at])] for at in order if found.shares[at] > 0]
    return {"measure": found.measure, "features": named}


def _split_gains(model: TreeEnsemble, features: int) -> Doubles:
    """Per feature the spread of what its splits' branches predict: examples x squared distance from their mean.

    For shares of labels that is the decrease of Gini impurity, for regression that of variance.
    """
    nodes = model.nodes
    inner = np.flatnonzero(nodes.feature >= 0)
    branches = nodes.children[inner]
    examples = nodes.examples[branches].astype(np.float64)
    values = nodes.values[branches].astype(np.float64)
    total = np.maximum(examples.sum(axis=1), np.finfo(float).tiny)
    mean = (examples[:, :, None] * values).sum(axis=1) / total[:, None]
    gains = (examples * ((values - mean[:, None]) ** 2).sum(axis=2)).sum(axis=1)
    return np.asarray(np.bincount(nodes.feature[inner], gains * _tree_weights(model)[inner], features), np.float64)


def _tree_weights(model: TreeEnsemble) -> Doubles:
    """The absolute weight of the tree that each node belongs to."""
    weights = np.zeros(len(model.nodes))
    current = model.roots
    weights[current] = np.abs(model.weights)
    for _ in range(model.depth):
        current = current[model.nodes.feature[current] >= 0]
        children = model.nodes.children[current]
        weights[children] = weights[current][:, None]
        current = children.ravel()
    return weights


def _weight_sizes(model: GlzModel, features: int) -> Doubles:
    sizes = np.abs(model.weights.astype(np.float64)[:, : len(model.columns)]).sum(axis=0)
    return np.asarray(np.bincount(model.columns.feature, sizes, features), np.float64)


def _evidence(model: NaiveBayesModel, features: int) -> Doubles:
    """Per feature the distance between what the branches of its split say of each label against their mean."""
    apart = model.logs - model.logs.mean(axis=2, keepdims=True)
    sizes = np.abs(apart[:, 0] - apart[:, 1]).sum(axis=1)
    return np.asarray(np.bincount(model.feature, sizes, features), np.float64)


def _path_sizes(model: PerceptronModel, features: int) -> Doubles:
    """Products of absolute weights along all paths to the outputs (Garson 1991), from inputs of like spread."""
    sizes = np.abs(model.layers[0][0] @ model.layers[1][0])
    # Undo the scaling of inputs: the first layer's rows are one over the spread of a column that stands by itself.
    spread = np.linalg.norm(np.linalg.pinv(model.layers[0][0]), axis=0)
    for weights, _ in model.layers[2:]:
        sizes = sizes @ np.abs(weights)
    return np.asarray(np.bincount(model.columns.feature, sizes.sum(axis=1) * spread, features), np.float64)


def _differences(model: FastTextModel) -> Doubles:
    near = model.inputs.astype(np.float64) @ model.outputs.T.astype(np.float64)
    return np.asarray(np.abs(near - near.mean(axis=1, keepdims=True)).sum(axis=1))


def _of_members(members: Sequence[Model], weights: NDArray[Any], features: int) -> Importance | None:
    """The weighted mean over members that tell."""
    found = [(importance_of(member, features), weight) for member, weight in zip(members, weights, strict=True)]
    told = [(each, weight) for each, weight in found if each is not None]
    if not told:
        return None
    return Importance(told[0][0].measure, _shares(sum((one.shares * w for one, w in told), np.zeros(features))))


def _shares(sizes: Doubles) -> Doubles:
    total = sizes.sum()
    return np.asarray(sizes / total if total > 0 else sizes)
