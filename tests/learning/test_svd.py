"""Singular value decomposition: procedure, coordinates, function."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from server.learning import svd
from server.learning.examples import Examples
from server.learning.svd import decompose
from tests.learning.tables import examples
from tests.learning.test_classifier_rest import make_rows


@pytest.fixture(scope="module")
def data_dir(server):
    return server.data_dir.resolve()


def ignore(_: float) -> None:
    pass


def numbers(matrix) -> Examples:
    return examples(matrix, [0] * len(matrix), 2)


def test_singular_values_are_those_of_the_standardized_matrix():
    rng = np.random.default_rng(0)
    data = numbers(rng.normal(size=(50, 4)))
    model = decompose(data.space, data.matrix, 10, ignore)
    standard = (data.matrix - data.matrix.mean(axis=0)) / data.matrix.std(axis=0)
    assert model.singular == pytest.approx(np.linalg.svd(standard, compute_uv=False), rel=1e-5)
    rows = model.embed(data.matrix).astype(np.float64)
    assert np.allclose(rows.T @ rows, np.eye(4), atol=1e-4)
    assert np.allclose((rows * model.singular) @ model.vectors.T, standard, atol=1e-3)


def test_a_repeated_column_adds_nothing():
    x = np.random.default_rng(1).normal(size=(30, 1))
    data = numbers(np.concatenate([x, 2 * x, x**2], axis=1))
    assert decompose(data.space, data.matrix, 10, ignore).size == 2


def test_a_single_number_has_no_structure():
    data = numbers(np.arange(10.0)[:, None])
    assert decompose(data.space, data.matrix, 10, ignore).size == 0


@pytest.mark.parametrize("spread", [1.0, 1e-5])
def test_many_columns_by_subspace_even_of_very_different_sizes(spread, monkeypatch):
    """Rounds in single precision find what is wanted, or are done again in double precision."""
    monkeypatch.setattr(svd, "_MAX_DENSE", 10)
    rng = np.random.default_rng(2)
    left, right = np.linalg.qr(rng.normal(size=(300, 8)))[0], np.linalg.qr(rng.normal(size=(200, 8)))[0]
    sizes = np.array([1000, *1000 * spread * np.linspace(1, 0.5, 7)])
    for design in (sparse.csr_matrix(left * sizes @ right.T), sparse.csr_matrix(right * sizes @ left.T)):
        values, vectors = svd._eigenvectors(design, 6, ignore)
        assert np.sqrt(values) == pytest.approx(sizes[:6], rel=2e-7)
        assert np.allclose(vectors.T @ vectors, np.eye(6), atol=1e-6)


@pytest.fixture(scope="module")
def mixed(client):
    rows = {f"r{n}": {"n": n, "color": ("red", "green", "blue")[n % 3]} for n in range(30)}
    make_rows(client, "mixed", rows)
    return client


def train(client, data_dir, **changes):
    params = {
        "trainingData": "SELECT * FROM mixed",
        "rowOutputDataset": "svd_rows",
        "columnOutputDataset": "svd_columns",
        "modelFileUrl": f"file://{data_dir}/m.svd",
        "functionName": "embed",
    }
    return client.put("/v1/procedures/s", json={"type": "svd.train", "params": params | changes})


def test_rows_columns_and_function_agree(mixed, data_dir):
    answer = train(mixed, data_dir)
    assert answer.status_code == 201, answer.text
    columns = mixed.query("SELECT * FROM svd_columns")
    assert columns[0] == ["_rowName", "embedding.0", "embedding.1", "embedding.2", "embedding.3"]
    expected = {f"color.stringEquals.{color}" for color in ("red", "green", "blue")} | {"n.numericValue"}
    assert {row[0] for row in columns[1:]} == expected
    stored = {row[0]: row[1:] for row in mixed.query("SELECT * FROM svd_rows")[1:]}
    live = {row[0]: row[1:] for row in mixed.query("SELECT embed({row: {*}})[embedding] AS * FROM mixed")[1:]}
    for name, values in stored.items():
        assert live[name] == pytest.approx(values, abs=1e-6)


def test_texts_alone_and_fewer_values(mixed, data_dir):
    train(mixed, data_dir, trainingData="SELECT color FROM mixed")
    assert len(mixed.query("SELECT * FROM svd_rows")[0]) == 4
    train(mixed, data_dir, numSingularValues=2, outputColumn="a.b")
    assert mixed.query("SELECT * FROM svd_rows")[0] == ["_rowName", "a.b.0", "a.b.1"]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("{n: 'x'}", "Column 'n' was passed as a string value 'x' but only numbers were seen in training"),
        ("{color: 3}", "Column 'color' was a string in training but has numeric value 3"),
        ("{color: 'mauve'}", "Column 'color' was passed a value that was never seen in training when passed to SVD"),
    ],
)
def test_values_of_other_kinds(mixed, data_dir, row, text):
    train(mixed, data_dir)
    answer = mixed.get_json("/v1/query", {"q": f"SELECT embed({{row: {row}}}) AS *"})
    assert answer.status_code == 400
    assert text in answer.json()["error"]
    params = {"modelFileUrl": f"file://{data_dir}/m.svd", "acceptUnknownValues": True}
    mixed.put("/v1/functions/lenient", json={"type": "svd.embedRow", "params": params}).raise_for_status()
    if "mauve" in row:
        assert mixed.query(f"SELECT lenient({{row: {row}}}) AS *")[1][1:] == [0, 0, 0, 0]


def test_refusals(mixed, data_dir):
    answer = train(mixed, data_dir, outputColumn="")
    assert "SVD training procedure requires a non-empty output column name" in answer.json()["error"]
    assert train(mixed, data_dir, trainingData="SELECT n FROM mixed GROUP BY n").status_code == 400
