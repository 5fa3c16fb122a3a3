"""``tensorflow.graph`` over the model worker. ``inputs`` and ``outputs`` that are plain columns need no SQL engine."""

import shutil
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from server.declarations import Creation
from server.errors import MldbError
from server.learning.tensorflow_graph import TENSORFLOW_GRAPH, TensorflowGraphParams
from server.learning.tensorflow_names import read_select_list
from server.settings import Settings
from server.transfer.urls import Urls
from server.values.atoms import NEVER
from server.values.batches import Cell, Column, RowBatch, RowType
from server.values.cells import any_array, cells_array
from server.values.kinds import Kind
from tests.images.conftest import picture

pytestmark = pytest.mark.timeout(180)  # the first use of a fixture starts TensorFlow, on a busy machine


@dataclass
class Parts:
    """The services that the type uses."""

    settings: Settings
    urls: Urls
    models: Any
    engine: Any = None


class Quiet:
    def step(self, name, type="percentile"):
        self.name = name


@pytest.fixture
def parts(models, graphs, tmp_path):
    settings = Settings(data_dir=tmp_path, file_root=[graphs])
    return Parts(settings, Urls(settings), models)


def make(parts, url, inputs, outputs, stored=None, **more):
    params = TensorflowGraphParams(modelFileUrl=url, inputs=inputs, outputs=outputs, **more)
    return TENSORFLOW_GRAPH.create(Creation("f", {}, params, parts, Quiet(), stored))


@pytest.fixture
def inception(parts, graphs):
    return make(parts, f"file://{graphs}/inception.pb", 'content AS "DecodeJpeg/contents"', "pool_3, softmax AS s")


def rows_of(kind, values, path=("content",), stamps=NEVER, shape=None):
    return RowBatch(RowType((Column(path, kind, shape),)), len(values), [values], [stamps])


def test_types(inception):
    assert inception.input == RowType((Column(("content",), Kind.ANY),))
    assert inception.output == RowType(
        (Column(("pool_3",), Kind.NUMBER, (1, 1, 1, 12)), Column(("s",), Kind.NUMBER, (1, 5)))
    )
    assert inception.status()["inputs"] == {"DecodeJpeg/contents": {"dtype": "string", "shape": []}}


def test_embeddings_and_timestamps(inception):
    stamps = pa.array([5e9, 7e9])  # newer than the graph
    given = rows_of(Kind.BLOB, pa.array([picture(1), picture(2)]), stamps=stamps)
    result = inception.bind(given.type).apply(given)
    assert result.type == inception.output
    assert result.values[0].type == pa.list_(pa.float64(), 12)
    assert result.values[1].type == pa.list_(pa.float64(), 5)
    assert [result.timestamp(index).to_pylist() for index in (0, 1)] == [[5e9, 7e9]] * 2


def test_the_same_from_any_column_and_from_open_rows(inception):
    blobs = [picture(1), picture(2)]
    expected = inception.bind(RowType()).apply(rows_of(Kind.BLOB, pa.array(blobs)))
    mixed = rows_of(Kind.ANY, any_array(blobs))
    cells = cells_array([[Cell(("other",), 1, 9.0), Cell(("content",), blob, 3e9)] for blob in blobs])
    rest = RowBatch(RowType((), open=True), 2, [], rest=cells)
    for batch in (mixed, rest):
        result = inception.bind(batch.type).apply(batch)
        assert [value.to_pylist() for value in result.values] == [value.to_pylist() for value in expected.values]
    assert result.timestamp(0).to_pylist() == [3e9, 3e9]


def test_no_rows(inception):
    given = rows_of(Kind.BLOB, pa.array([], pa.binary()))
    result = inception.bind(given.type).apply(given)
    assert result.length == 0
    assert [value.type for value in result.values] == [pa.list_(pa.float64(), 12), pa.list_(pa.float64(), 5)]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (rows_of(Kind.BLOB, pa.array([None], pa.binary())), "is null"),
        (rows_of(Kind.STRING, pa.array(["text"])), "not a picture"),
        (rows_of(Kind.NUMBER, pa.array([1.0]), ("other",)), "the input has no 'content'"),
        (rows_of(Kind.NUMBER, pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)), shape=(2,)), "must be a blob"),
    ],
)
def test_rows_that_cannot_be_run(inception, batch, message):
    with pytest.raises(MldbError, match=message) as caught:
        inception.bind(batch.type).apply(batch)
    assert caught.value.message.startswith("Unable to run model: ")


def test_numbers_from_embeddings_columns_and_cells(parts, graphs):
    function = make(parts, f"file://{graphs}/dense.pb", "x", "y, total")
    embedding = rows_of(Kind.NUMBER, pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float64(), 3)), ("x",), shape=(3,))
    spelled = RowBatch(
        RowType(tuple(Column(("x", str(i)), Kind.INTEGER) for i in range(3))), 1, [pa.array([i + 1]) for i in range(3)]
    )
    cells = cells_array([[Cell(("x", str(i)), i + 1, 1e9 * (1 + i)) for i in range(3)]])
    rest = RowBatch(RowType((), open=True), 1, [], rest=cells)
    for batch in (embedding, spelled, rest):
        result = function.bind(batch.type).apply(batch)
        assert [value.to_pylist() for value in result.values] == [[[2.0, 4.0, 6.0]], [[12.0]]]
    assert result.timestamp(0).to_pylist() == [3e9]


def test_scalars_and_blobs(parts, graphs):
    function = make(parts, f"file://{graphs}/text.pb", "text", "upper, length")
    assert function.output == RowType((Column(("upper",), Kind.BLOB), Column(("length",), Kind.INTEGER)))
    given = rows_of(Kind.STRING, pa.array(["ab", "cde"]), ("text",))
    result = function.bind(given.type).apply(given)
    assert [value.to_pylist() for value in result.values] == [[b"AB", b"CDE"], [2, 3]]


def test_star_gives_what_no_node_reads(parts, graphs):
    function = make(parts, f"file://{graphs}/inception.pb", 'content AS "DecodeJpeg/contents"', "*")
    assert [column.path for column in function.output.columns] == [("softmax",)]


def test_a_member_of_an_archive(parts, graphs, tmp_path):
    with zipfile.ZipFile(tmp_path / "models.zip", "w") as archive:
        archive.write(graphs / "dense.pb", "deep/dense.pb")
    function = make(parts, f"archive+file://{tmp_path}/models.zip#deep/dense.pb", "x", "y")
    assert function.output.columns[0].shape == (1, 3)


def test_a_restart_needs_neither_the_url_nor_the_worker(parts, graphs, tmp_path):
    shutil.copy(graphs / "dense.pb", tmp_path / "here.pb")
    stored = make(parts, f"file://{tmp_path}/here.pb", "x", "y").persist()
    (tmp_path / "here.pb").unlink()
    again = make(parts, f"file://{tmp_path}/here.pb", "x", "y", stored)
    given = rows_of(Kind.NUMBER, pa.array(np.zeros((1, 3)).tolist(), pa.list_(pa.float64(), 3)), ("x",), shape=(3,))
    assert again.bind(given.type).apply(given).values[0].to_pylist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("url", "inputs", "outputs", "message"),
    [
        ("file://{graphs}/none.pb", "x", "y", "none.pb"),
        ("file://{graphs}/dense.pb", "x", "nothing", "the graph has no node 'nothing'"),
        ("file://{graphs}/dense.pb", "nothing", "y", "the graph has no node 'nothing'"),
        ("file://{graphs}/dense.pb", "*", "y", "must name a node of the graph in each clause"),
        ("file://{graphs}/complex.pb", "x", "z", "Can't return tensor of this type from TensorFlow"),
    ],
)
def test_creation_refuses(parts, graphs, url, inputs, outputs, message):
    with pytest.raises(MldbError, match=message) as caught:
        make(parts, url.format(graphs=graphs), inputs, outputs)
    assert caught.value.code == 400


def test_files_outside_the_roots_are_refused(parts):
    with pytest.raises(MldbError, match="outside the folders that may be accessed"):
        make(parts, "file:///etc/hostname", "x", "y")


def test_unknown_parameters_are_refused():
    with pytest.raises(ValidationError):
        TensorflowGraphParams(modelFileUrl="file://x", inputs="x", outputs="y", graph="z")


@pytest.mark.parametrize(
    ("text", "variables", "renames"),
    [
        ('fetcher(url)[content] AS "DecodeJpeg/contents"', [("url",)], None),
        ("x, y AS z", [("x",), ("y",)], ((("x",), ("x",)), (("y",), ("z",)))),
        ("{a, b: c + d} AS x", [("a",), ("c",), ("d",)], None),
        ("coalesce(content, fetcher(url)[content]) AS x", [("content",), ("url",)], None),
    ],
)
def test_free_variables(text, variables, renames):
    parsed = read_select_list(text)
    assert list(parsed.variables) == variables
    assert parsed.renames == renames


def test_values_are_never_older_than_the_graph(parts, graphs):
    function = make(parts, f"file://{graphs}/text.pb", "text", "length")
    given = rows_of(Kind.STRING, pa.array(["ab"]), ("text",), stamps=5.0)
    stamp = function.bind(given.type).apply(given).timestamp(0)
    assert stamp == pytest.approx((graphs / "text.pb").stat().st_mtime, abs=1)
    assert make(parts, "", "text", "length", function.persist()).persist() == function.persist()
