"""MLDB's binary classifier files (model-file-cls.md): committees, decision trees and generalized linear models."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from server.errors import MldbError
from server.learning.classifier import Classifier
from server.learning.committee import Constant, combine
from server.learning.configurations import Link
from server.learning.design import EQUALS, Columns
from server.learning.examples import Model
from server.learning.feature_space import Feature, FeatureSpace
from server.learning.glz import GlzModel
from server.learning.matrix import Floats
from server.learning.training_set import Mode
from server.learning.tree_nodes import EQUAL, LESS, PRESENT, Nodes, leafless
from server.learning.trees import TreeEnsemble

_MAX_DEPTH = 200  # nested committees and trees; deeper files are not MLDB's
_BOOLEAN, _CATEGORICAL, _STRING = 2, 3, 7
_LINKS: tuple[Link, ...] = ("logit", "probit", "comp_log_log", "linear", "log")
_OPERATIONS = (LESS, EQUAL, PRESENT)


@dataclass(frozen=True)
class _Info:
    """Type of a column (0 unknown … 7 string), whether rows may lack it, its categories when it is not a number."""

    type: int
    optional: bool
    categories: tuple[str, ...] | None


class _Reader:
    """The basic values, in order. ``MldbError`` when the bytes end or do not say what they must."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise MldbError("The classifier file ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def compact(self) -> int:
        """A big-endian number; the leading 1 bits of its first byte count the bytes that follow."""
        first = self.byte()
        extra = 8 - (first ^ 0xFF).bit_length()
        value = first & (0xFF >> (extra + 1)) if extra < 8 else 0
        return value << (8 * extra) | int.from_bytes(self.take(extra), "big")

    def size(self) -> int:
        """A number of items, each a byte at least."""
        count = self.compact()
        if count > len(self.data) - self.at:
            raise MldbError("The classifier file is damaged: it lists more than it holds")
        return count

    def text(self) -> str:
        try:
            return self.take(self.size()).decode()
        except UnicodeDecodeError:
            raise MldbError("The classifier file is damaged: a name is not UTF-8") from None

    def number(self) -> float:
        value: float = struct.unpack("<f", self.take(4))[0]
        return value

    def integer(self) -> int:
        value: int = struct.unpack("<i", self.take(4))[0]
        return value

    def numbers(self) -> Floats:
        return np.frombuffer(self.take(4 * self.size()), "<f4").astype(np.float32)

    def expect(self, wanted: object, found: object) -> None:
        if wanted != found:
            raise MldbError(f"Not a classifier file: expected {wanted!r} at byte {self.at}, found {found!r}")

    def feature_id(self) -> tuple[int, int, int]:
        first, second, third = (self.compact() & 0xFFFFFFFF for _ in range(3))
        return first, second, third

    def entry(self) -> str:
        """The head of a polymorphic object: its key (the length that follows is not needed)."""
        key = self.text()
        self.expect(0, self.compact())
        self.compact()
        return key


def read_cls(data: bytes) -> Classifier:
    """A classifier from the bytes of a ``.cls`` file; ``MldbError`` when it is none, or of a type not known here."""
    reader = _Reader(data)
    reader.expect(1, reader.compact())
    label, features, ids = _read_space(reader)
    body = _Body(reader, ids, features)
    model = body.classifier(0)
    used = body.with_categories()
    mode, labels = _labels(label, body.label_count)
    digest = hashlib.sha256(data).hexdigest()
    classifier = Classifier(mode, FeatureSpace(tuple(used)), labels, model, {"format": "MLDB .cls"}, digest)
    return classifier.checked()


def _read_space(reader: _Reader) -> tuple[_Info, list[Feature], dict[tuple[int, int, int], int]]:
    """The label's info, the columns, and the number of the column that each feature id means."""
    reader.expect("MLDB::DatasetFeatureSpace", reader.entry())
    if reader.byte() not in (2, 3):
        raise MldbError("The classifier file is of an unknown version")
    columns = reader.size()
    label = _read_info(reader)
    features: list[Feature] = []
    ids: dict[tuple[int, int, int], int] = {}
    for number in range(columns):
        try:
            hash_ = int(reader.text().strip('"'), 16)
        except ValueError:
            raise MldbError("The classifier file is damaged: a column hash is no number") from None
        name, info = reader.text(), _read_info(reader)
        features.append(Feature(name, info.categories, info.optional, hash_))
        ids[(1, hash_ >> 32 & 0xFFFFFFFF, hash_ & 0xFFFFFFFF)] = number
    return label, features, ids


def _read_info(reader: _Reader) -> _Info:
    reader.expect(4, reader.compact())
    flags = reader.byte()
    categories = None
    if flags & 0x80:
        reader.expect("FIXED_CI", reader.entry())
        reader.expect(0, reader.compact())
        reader.expect("FIXED_CI", reader.text())
        categories = tuple(reader.text() for _ in range(reader.size()))
    elif flags & 0xF in (_CATEGORICAL, _STRING):
        categories = ()
    return _Info(flags & 0xF, bool(flags & 0x10), categories)


def _labels(label: _Info, count: int) -> tuple[Mode, tuple[str, ...]]:
    """Mode and label names: a label with categories, a boolean one, or a number."""
    if label.categories:
        if len(label.categories) != count:
            raise MldbError("The classifier file is damaged: labels and scores differ in number")
        return "categorical", label.categories
    if count == 1:
        return "regression", ()
    return ("boolean", ("0", "1")) if count == 2 else ("categorical", tuple(map(str, range(count))))


class _Body:
    """The nested classifiers. Categories that a split or feature names get their indexes here."""

    def __init__(self, reader: _Reader, ids: Mapping[tuple[int, int, int], int], features: list[Feature]) -> None:
        self.reader, self.ids, self.features = reader, ids, features
        self.codes = [
            None if feature.categories is None else {text: code for code, text in enumerate(feature.categories)}
            for feature in features
        ]
        self.label_count = 0

    def with_categories(self) -> list[Feature]:
        return [
            feature if codes is None else replace(feature, categories=tuple(codes))
            for feature, codes in zip(self.features, self.codes, strict=True)
        ]

    def classifier(self, depth: int) -> Model:
        if depth > _MAX_DEPTH:
            raise MldbError("The classifier file is nested too deeply")
        key = self.reader.entry()
        self.reader.expect(key, self.reader.text())
        if key == "COMMITTEE":
            return self._committee(depth)
        if key == "DECISION_TREE":
            return self._decision_tree()
        if key == "GLZ_CLASSIFIER":
            return self._glz()
        raise MldbError(f"Classifier files of type '{key}' are not supported; train the model again")

    def _labels_are(self, count: int) -> None:
        if self.label_count not in (0, count):
            raise MldbError("The classifier file is damaged: its parts score different numbers of labels")
        self.label_count = count

    def _committee(self, depth: int) -> Model:
        reader = self.reader
        reader.expect(0, reader.compact())
        reader.feature_id()
        bias, weights = reader.numbers(), reader.numbers()
        members = []
        for _ in weights:
            if reader.compact():
                _read_space(reader)
            members.append(self.classifier(depth + 1))
        reader.expect("END COMMITTEE", reader.text())
        self._labels_are(len(bias))
        combined = combine(members, weights.tolist())
        if isinstance(combined, TreeEnsemble):
            return replace(combined, bias=combined.bias + bias)
        if bias.any():
            return combine([combined, Constant(bias)], [1.0, 1.0])
        return combined

    def _decision_tree(self) -> TreeEnsemble:
        reader = self.reader
        reader.expect(3, reader.compact())
        labels = reader.size()
        self._labels_are(labels)
        reader.feature_id()
        reader.expect(1, reader.compact())
        nodes = self._nodes(labels)
        reader.expect(3212345, reader.compact())
        reader.expect("END_TREE", reader.text())
        reader.byte()
        reader.expect(12345, reader.compact())
        return TreeEnsemble.single(nodes)

    def _nodes(self, labels: int) -> Nodes:
        """The tree, read in the order it was written: a node, then its true, false and missing branches."""
        rows: list[_Node] = []
        todo: list[tuple[int, int]] = [(-1, 0)]
        while todo:
            parent, branch = todo.pop()
            if parent >= 0:
                rows[parent].children[branch] = len(rows)
            node = self._node(len(rows))
            if node.feature >= 0:
                todo += [(len(rows), each) for each in (2, 1, 0)]
            rows.append(node)
        return _flatten(rows, labels)

    def _node(self, place: int) -> _Node:
        reader = self.reader
        reader.expect(1, reader.compact())
        if not reader.compact():
            reader.expect(1, reader.compact())
            return _Node([place] * 3, values=reader.numbers(), examples=reader.number())
        reader.expect(4, reader.compact())
        feature, operation, threshold = self._split()
        return _Node([0, 0, 0], feature, operation, threshold, reader.number(), examples=reader.number(),
                     values=reader.numbers())  # fmt: skip

    def _split(self) -> tuple[int, int, float]:
        reader = self.reader
        reader.expect(0, reader.byte())
        feature = self._feature()
        operation = reader.byte()
        if operation >= len(_OPERATIONS):
            raise MldbError("The classifier file is damaged: a split is of an unknown kind")
        threshold = 0.0
        if _OPERATIONS[operation] != PRESENT:
            known = self.codes[feature]
            threshold = reader.number() if known is None else known.setdefault(reader.text(), len(known))
        return feature, _OPERATIONS[operation], threshold

    def _feature(self) -> int:
        found = self.ids.get(self.reader.feature_id())
        if found is None:
            raise MldbError("The classifier file is damaged: it uses a column that it does not list")
        return found

    def _glz(self) -> GlzModel:
        reader = self.reader
        reader.expect(4, reader.compact())
        reader.feature_id()
        add_bias = bool(reader.integer())
        weights = np.stack([reader.numbers() for _ in range(reader.size())])
        link = reader.byte()
        if link >= len(_LINKS):
            raise MldbError("The classifier file is damaged: a link is of an unknown kind")
        columns = np.array([self._glz_column() for _ in range(reader.size())], np.int32).reshape(-1, 3)
        reader.expect(0x12345, reader.compact())
        self._labels_are(len(weights))
        if weights.shape[1] != len(columns) + add_bias:
            raise MldbError("The classifier file is damaged: weights and features differ in number")
        made = Columns(columns[:, 0], columns[:, 1].astype(np.int8), columns[:, 2])
        return GlzModel(made, weights, add_bias, _LINKS[link], True, len(self.features))

    def _glz_column(self) -> tuple[int, int, int]:
        feature, kind = self._feature(), self.reader.byte()
        if kind > EQUALS:
            raise MldbError("The classifier file is damaged: a feature is of an unknown kind")
        category = 0
        if kind == EQUALS:
            text, known = self.reader.text(), self.codes[feature]
            if known is None:
                raise MldbError("The classifier file is damaged: a numeric column has a category")
            category = known.setdefault(text, len(known))
        return feature, kind, category


@dataclass
class _Node:
    children: list[int]
    feature: int = -1
    operation: int = 0
    threshold: float = 0.0
    z: float = 0.0
    values: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    examples: float = 0.0


def _flatten(rows: list[_Node], labels: int) -> Nodes:
    # Before memory is taken for what the file says to have.
    if any(len(row.values) != labels and (len(row.values) or row.feature < 0) for row in rows):
        raise MldbError("The classifier file is damaged: a leaf scores a wrong number of labels")
    nodes = leafless(len(rows), labels)
    for place, row in enumerate(rows):
        nodes.feature[place], nodes.operation[place] = row.feature, row.operation
        nodes.threshold[place], nodes.z[place] = row.threshold, row.z
        nodes.examples[place], nodes.children[place] = row.examples, row.children
        if len(row.values):
            nodes.values[place] = row.values
    return nodes
