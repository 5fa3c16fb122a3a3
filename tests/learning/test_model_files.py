"""Model files: our own format, MLDB's binary one, and what is neither."""

from __future__ import annotations

import zipfile
from contextlib import suppress

import numpy as np
import pytest

from server.errors import MldbError
from server.learning.archive import Archive, pack, unpack
from server.learning.classifier import Classifier, train_classifier
from server.learning.classifier_files import read_classifier
from server.learning.config import builtin_configurations, resolve
from server.learning.saved import model_content
from server.learning.training_set import TrainingSet, read_training_set
from tests.learning.cls_writer import cls_file, committee, info, leaf, linear, node, tree
from tests.learning.tables import batch, rings, space

NUMBERS = {"x": info(4), "color": info(3, ["blue", "red"])}
LABELS = ['"no"', '"yes"']


def read(data: bytes) -> Classifier:
    return read_classifier(data, limit=2**20)


def rows(*pairs: tuple[float, float]) -> np.ndarray:
    return np.array(pairs, np.float32)


def test_committee_of_trees():
    first = tree(node("x", 0, 2.0, leaf([1, 0]), leaf([0, 1]), leaf([5, 5])))
    second = tree(
        node(
            "color", 1, "red", leaf([0, 3]), leaf([3, 0]), node("x", 2, None, leaf([7, 7]), leaf([0, 0]), leaf([0, 9]))
        )
    )
    found = read(cls_file(NUMBERS, LABELS, committee([0.5, -0.5], [1, 2], [first, second])))
    assert found.mode == "categorical"
    assert found.labels == ('"no"', '"yes"')
    none = np.nan
    scores = found.scores(rows((1, 1), (2, 0), (none, none), (1, none), (1, -1)))
    assert scores.tolist() == [[1.5, 5.5], [6.5, 0.5], [5.5, 22.5], [15.5, 13.5], [7.5, -0.5]]


def test_a_single_linear_model():
    columns = [("x", 0, None), ("x", 2, None), ("color", 3, "red")]
    found = read(cls_file(NUMBERS, LABELS, linear([[1, 2, 3, 4], [0, 0, 0, 0]], columns, link=3)))
    assert found.scores(rows((10, 1), (np.nan, 0)))[:, 0].tolist() == [19, 4]
    why = found.model.explain(rows((10, 1)), 0)
    assert float(why.bias[0] + why.weights.sum()) == 19


def test_every_cut_of_a_file_is_refused():
    data = cls_file(
        NUMBERS, LABELS, committee([0, 0], [1], [tree(node("x", 0, 2.0, leaf([1, 0]), leaf([0, 1]), leaf([0, 0])))])
    )
    assert read(data).labels
    for end in range(len(data)):
        with pytest.raises(MldbError):
            read(data[:end])


def test_other_bytes_are_refused():
    with pytest.raises(MldbError, match="are not supported"):
        read(
            cls_file(NUMBERS, LABELS, committee([0], [1], [tree(leaf([0, 0]))])).replace(
                b"DECISION_TREE", b"PERCEPTRON_XX"
            )
        )
    for data in (b"", b"hello", b"PK\x03\x04nonsense", bytes(100)):
        with pytest.raises(MldbError):
            read(data)


def trained(algorithm: str, mode: str = "boolean"):
    matrix, label = rings(120)
    labels = ("0", "1")
    table = TrainingSet(mode, space("x", "y"), matrix, label, labels, np.ones(120))
    return matrix, train_classifier(table, resolve(builtin_configurations(), algorithm))


@pytest.mark.parametrize("algorithm", ["dt", "bbdt", "bs", "glz", "bglz", "naive_bayes", "nn"])
def test_models_come_back_as_they_were(algorithm):
    matrix, classifier = trained(algorithm)
    data = classifier.to_bytes()
    again = read(data)
    assert again.scores(matrix).tolist() == classifier.scores(matrix).tolist()
    assert (again.mode, again.labels, again.space) == (classifier.mode, classifier.labels, classifier.space)
    assert again.to_bytes() == data
    assert trained(algorithm)[1].to_bytes() == data


def test_nothing_in_a_file_is_unpickled(tmp_path):
    _, classifier = trained("dt")
    file = tmp_path / "model"
    file.write_bytes(classifier.to_bytes())
    with zipfile.ZipFile(file) as source:
        members = {name: source.read(name) for name in source.namelist()}
    np.save(tmp_path / "evil.npy", np.array([object()], object), allow_pickle=True)
    members["arrays/model.roots.npy"] = (tmp_path / "evil.npy").read_bytes()
    with zipfile.ZipFile(file, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    with pytest.raises(MldbError, match="damaged"):
        read(file.read_bytes())


def test_other_kinds_and_versions_are_refused():
    data = pack("kmeans", {}, Archive())
    with pytest.raises(MldbError, match="holds a model of kind 'kmeans', not 'svd'"):
        unpack("svd", data)
    with pytest.raises(MldbError, match="kind 'kmeans'"):
        read(data)


def test_trees_that_lead_in_circles_are_refused():
    _, classifier = trained("dt")
    classifier.model.nodes.children[1] = 0
    classifier.model.nodes.feature[1] = 0
    with pytest.raises(MldbError, match="lead in circles"):
        read(classifier.to_bytes())


def test_rows_become_a_training_set():
    found = read_training_set(
        [
            batch(
                ["u10", "u2", "u3"],
                {
                    "features.a": [1, 2, None],
                    "features.t": ["x", 5, "y"],
                    "label": ["p", "q", None],
                    "weight": [1, 2, 3],
                },
            )
        ],
        "categorical",
    )
    assert found.labels == ('"p"', '"q"')
    assert found.targets.tolist() == [1, 0]
    assert found.weights.tolist() == [2, 1]
    assert [feature.categories for feature in found.space.features] == [None, ("5", "x", "y")]
    assert np.asarray(found.matrix).tolist() == [[2, 0], [1, 1]]


def test_a_column_twice_is_named():
    from server.values.cells import Cell

    twice = [Cell(("features", "a"), 1), Cell(("features", "a"), 2), Cell(("label",), 1)]
    with pytest.raises(MldbError, match=r"duplicated column 'a' for row 'r': .* SELECT temporal_latest\(\{\*\}\) AS"):
        read_training_set([batch(["r"], {}, [twice])], "boolean")


@pytest.mark.parametrize(("field", "value"), [("children", 10_000), ("children", -5), ("first_word", 3)])
def test_trees_that_point_outside_are_refused(field, value):
    _, classifier = trained("dt")
    getattr(classifier.model.nodes, field)[0] = value
    with pytest.raises(MldbError, match="point outside themselves"):
        read(classifier.to_bytes())


@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_any_change_of_a_cls_file_is_refused_or_harmless(kind):
    """Each byte made others in turn: what is read all the same scores rows, tells itself and explains."""
    first = tree(node("x", 0, 2.0, leaf([1, 0]), node("color", 1, "red", *[leaf([0, 1])] * 3), leaf([5, 5])))
    made = committee([0, 0], [1, 2], [first, tree(leaf([1, 2]))])
    if kind == "linear":
        columns = [("x", 0, None), ("x", 2, None), ("color", 3, "red")]
        made = linear([[1, 2, 3, 4], [0, 0, 0, 0]], columns, link=3)
    data = cls_file(NUMBERS, LABELS, made)
    points = rows((1, 1), (np.nan, 0))
    for at in range(len(data)):
        for byte in {0, 1, 0x7F, 0xFF, data[at] ^ 1, data[at] ^ 0x80} - {data[at]}:
            changed = data[:at] + bytes([byte]) + data[at + 1 :]
            found = None
            with np.errstate(all="ignore"), suppress(MldbError), model_content():
                found = read(changed)
            with np.errstate(all="ignore"):
                if found is None:
                    continue
                assert found.scores(points).shape[0] == 2
                found.model.explain(points, 0)
                found.model.describe(found.space)
