"""Dataset files: what is saved is loaded again, whole; the beh family around them."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from server.datasets.beh import TYPES as BEH
from server.datasets.tabular import TYPES as TABULAR
from server.declarations import Creation
from server.errors import MldbError
from server.messages import Request
from server.values.atoms import Interval, PathValue, Timestamp
from server.values.batches import Column, RowType
from server.values.kinds import Kind
from tests.storage.results import Result, Unhurried, batch, cells_of

TYPES = {declared.name: declared for declared in (*BEH, *TABULAR)}
ROWS = [
    (("r", "1"), [(("a",), 1, 1.0), (("a",), "two", 2.0), (("n",), None, math.nan), (("f",), 1.5, -math.inf)]),
    (("empty",), []),
    (("q.x",), [(("b", "c"), 2**63, 0.0), (("t",), Timestamp(2.5), 0.0), (("v",), Interval(1, 2, 3.0), 0.0)]),
    (("é",), [(("blob",), b"\x00\xff", 0.0), (("p",), PathValue(("x", "y.z")), 0.0), (("i",), 2**60, 0.0)]),
]


def create(services, type_name, **params):
    declared = TYPES[type_name]
    return declared.create(Creation("id", {}, declared.params(**params), services, Unhurried()))


def post(body):
    return Request("POST", "", body=body, remaining="/saves")


@pytest.mark.parametrize("url", ["file://{}/data.beh", "mem://data.beh", "file://{}/data.beh.gz"])
def test_everything_comes_back(services, tmp_path, url):
    url = url.format(tmp_path)
    dataset = create(services, "beh.mutable", dataFileUrl=url)
    with pytest.raises(MldbError, match=r"^No matrix view for an uncommitted mutable dataset$"):
        dataset.layout()
    dataset.record_rows(ROWS)
    dataset.commit()
    dataset.commit()
    with pytest.raises(MldbError, match="committed"):
        dataset.record_rows(ROWS)
    loaded = create(services, "beh", dataFileUrl=url)
    written = cells_of(services.database, dataset.layout())
    found = cells_of(services.database, loaded.layout())
    assert found == written
    assert list(found) == list(written)
    assert len(found) == 4
    assert loaded.status()["valueCount"] == 10
    with pytest.raises(MldbError, match=r"^Dataset type 'beh' doesn't allow recording$"):
        loaded.record_rows(ROWS)


def test_rows_are_listed_by_hash(services):
    dataset = create(services, "beh.mutable")
    dataset.record_rows([((name,), []) for name in ("ex1", "ex2", "ex3", "ex4")])
    dataset.commit()
    assert list(cells_of(services.database, dataset.layout())) == ["ex4", "ex1", "ex3", "ex2"]


def test_a_commit_without_rows_makes_an_empty_file(services):
    dataset = create(services, "beh.binary.mutable", dataFileUrl="mem://empty.beh")
    dataset.commit()
    assert cells_of(services.database, create(services, "beh.binary", dataFileUrl="mem://empty.beh").layout()) == {}


def test_types_are_told_apart(services):
    for kind, other in (("beh", "beh.binary"), ("beh.binary", "beh")):
        create(services, f"{kind}.mutable", dataFileUrl="mem://x.beh").commit()
        with pytest.raises(MldbError, match=f"^The loaded dataset is not of type {other}, it is of type {kind}$"):
            create(services, other, dataFileUrl="mem://x.beh")


def test_binary_takes_only_ones(services):
    dataset = create(services, "beh.binary.mutable")
    with pytest.raises(MldbError, match="can only record the value 1"):
        dataset.record_rows([(("r",), [(("x",), 2, 0.0)])])
    type_ = RowType((Column(("x",), Kind.NUMBER), Column(("y",), Kind.INTEGER)))
    with pytest.raises(MldbError, match="can only record the value 1"):
        dataset.write(Result(type_, [batch(["r"], type_, [pa.array([1.5]), pa.array([1])])]), Unhurried())
    columns = [pa.array([1.0, None]), pa.array([None, 1])]
    dataset.write(Result(type_, [batch(["r", "s"], type_, columns, [0.0, 0.0])]), Unhurried())
    assert cells_of(services.database, dataset.layout()) == {"r": [("x", "1", "0.0")], "s": [("y", "1", "0.0")]}
    assert dataset.status()["cellCount"] == 2


def test_the_saves_route_writes_and_freezes(services):
    dataset = create(services, "beh.binary.mutable")
    dataset.record_rows([(("r",), [(("x",), 1, 0.0)])])
    assert dataset.route(post(b'{"dataFileUrl": "mem://saved.beh"}')).status == 200
    loaded = create(services, "beh.binary", dataFileUrl="mem://saved.beh")
    assert cells_of(services.database, loaded.layout()) == {"r": [("x", "1", "0.0")]}
    with pytest.raises(MldbError, match="committed"):
        dataset.record_rows([])
    for body in (b"{}", b"[", b"[]", b'{"dataFileUrl": 1}'):
        with pytest.raises(MldbError, match="saves"):
            dataset.route(post(body))
    with pytest.raises(MldbError, match="Unknown route"):
        dataset.route(Request("GET", "", remaining="/other"))


@pytest.mark.parametrize("url", ["relative/path.beh", "/absolute/path.beh", "nonsense://x.beh"])
def test_an_address_without_a_scheme_is_refused(services, url):
    with pytest.raises(MldbError):
        create(services, "beh.mutable", dataFileUrl=url)


def test_what_is_no_dataset_file_is_refused(services, tmp_path):
    (tmp_path / "junk.beh").write_bytes(b"PK\x03\x04 not parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.beh")
    for name in ("junk", "other"):
        with pytest.raises(MldbError, match="no dataset file"):
            create(services, "beh", dataFileUrl=f"file://{tmp_path}/{name}.beh")
    with pytest.raises(MldbError):
        create(services, "beh", dataFileUrl=f"file://{tmp_path}/absent.beh")


def test_a_table_is_saved_and_loaded(services):
    dataset = create(services, "tabular", unknownColumns="add")
    matrix = pa.array([[0.5, 1.0], [2.0, 3.0]], pa.list_(pa.float64(), 2))
    type_ = RowType((Column(("x",), Kind.STRING), Column(("e",), Kind.NUMBER, (2,))))
    dataset.write(Result(type_, [batch(["1", "2"], type_, [pa.array(["a", None]), matrix], [1.0, 2.0])]), Unhurried())
    dataset.route(post(b'{"dataFileUrl": "mem://table.parquet"}'))
    loaded = create(services, "tabular", dataFileUrl="mem://table.parquet")
    assert loaded.layout().numbered
    assert cells_of(services.database, loaded.layout()) == {
        "1": [("e.0", "0.5", "2.0"), ("e.1", "1", "2.0"), ("x", "'a'", "2.0")],
        "2": [("e.0", "2", "2.0"), ("e.1", "3", "2.0"), ("x", "None", "2.0")],
    }
