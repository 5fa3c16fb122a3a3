"""A stream cut into chunks, and windows over them, with the real registry, runner and SQL engine."""

import pytest

from server.app import model_worker
from server.datasets import beh, continuous, merged, sparse
from server.datasets.files import save_dataset
from server.declarations import EntityType, Params, ProcedureParams, RunResult
from server.entities import procedures
from server.entities.catalogue import Catalogue
from server.entities.jobs import Jobs
from server.entities.progress import TaskProgress
from server.entities.registry import Registry
from server.entities.runner import Runner
from server.entities.services import ServerServices
from server.entities.types import TypeRegistry
from server.errors import MldbError
from server.storage.cells import CellTables
from server.storage.database import new_table
from server.transfer.results import rows_of
from tests.datasets.parts import Parts
from tests.waiting import until


class SaveParams(ProcedureParams):
    args: dict = {}  # noqa: RUF012


class Save:
    """Keeps a chunk as it is, under its id."""

    def run(self, params, progress):
        chunk = params.args["datasetId"]
        config = {"id": chunk, "type": "sparse.mutable", "params": {"timeQuantumSeconds": 0.5}}
        return RunResult({"config": config, "metadata": {"size": 1, "tags": ["a", "b"]}})


class Writing:
    """Saves a chunk as a file, which has no name yet."""

    def __init__(self, services):
        self.services = services

    def run(self, params, progress):
        type_ = save_dataset(self.services, params.args["datasetId"], "mem://chunk.beh")
        return RunResult({"config": {"type": type_, "params": {"dataFileUrl": "mem://chunk.beh"}}})


class Failing:
    def run(self, params, progress):
        raise MldbError("the disk is full")


class Moody(sparse.SparseDataset):
    """Fails at its first commit, by something that nobody expected."""

    failed = False

    def commit(self):
        if not self.failed:
            self.failed = True
            raise OSError(28, "No space left on device")
        super().commit()


@pytest.fixture
def services(tmp_path):
    parts = Parts(tmp_path)
    types = TypeRegistry()
    for module in (beh, continuous, merged, sparse, procedures):
        types.register(module.TYPES)
    types.register([EntityType("procedure", "test.save", SaveParams, "Saves", lambda _: Save())])
    types.register([EntityType("procedure", "test.write", SaveParams, "Writes", lambda made: Writing(made.services))])
    types.register([EntityType("procedure", "test.fail", SaveParams, "Fails", lambda _: Failing())])
    moody = EntityType(
        "dataset", "test.moody", Params, "Fails once", lambda _: Moody(CellTables(parts.database, new_table()))
    )
    types.register([moody])
    registry = Registry(types, Catalogue(parts.database))
    runner, jobs, models = Runner(registry, 10), Jobs(), model_worker(parts.settings)
    services = ServerServices(parts.settings, parts.database, parts.urls, registry, runner, jobs, models)
    registry.attach(services)
    services.create("dataset", {"id": "meta", "type": "sparse.mutable"})
    yield services
    runner.close()
    jobs.close()
    models.close()
    registry.close()
    parts.database.close()


def stream(services, interval="1h", save="test.save", chunk="sparse.mutable"):
    create = {"type": "createEntity", "params": {"kind": "dataset", "type": chunk}}
    params = {
        "metadataDataset": {"id": "meta"},
        "createStorageDataset": create,
        "saveStorageDataset": {"type": save},
        "commitInterval": interval,
    }
    services.create("dataset", {"id": "stream", "type": "continuous", "params": params})
    return services.dataset("stream")


def names(services, dataset):
    return sorted(
        name for batch in services.query(f"SELECT * FROM {dataset}").batches() for name in batch.names.to_pylist()
    )


def window(services, **params):
    config = {"id": "w", "type": "continuous.window", "params": {"metadataDataset": "meta", **params}}
    services.create("dataset", config)
    return names(services, "w")


def test_chunks_and_windows(services):
    dataset = stream(services)
    assert names(services, "stream") == []
    for day in range(3):
        at = day * 86_400.0
        dataset.record_rows([((f"r{day}",), [(("x",), day, at), (("y",), "t", at + 10)])])
        assert names(services, "stream") == [f"r{day}"]
        dataset.commit()
        assert names(services, "stream") == []
    dataset.commit()
    assert len(names(services, "meta")) == 3
    assert window(services) == ["r0", "r1", "r2"]
    assert window(services, **{"from": "1970-01-02T00:00:00Z"}) == ["r1", "r2"]
    assert window(services, **{"from": "1970-01-01T12:00:00Z", "to": "1970-01-02T12:00:00Z"}) == ["r1"]
    assert window(services, datasetFilter="md.size = 2") == []
    assert window(services, datasetFilter="md.tags.\"1\" = 'b'") == ["r0", "r1", "r2"]


def test_the_rows_of_a_query_are_recorded_whatever_their_form(services):
    result = services.query("SELECT [1, 2] AS v, {'t' AS a, NULL AS b} AS r NAMED 'q'", timestamps=True)
    stream(services).write(result, TaskProgress())
    assert window(services) == ["q"]
    (batch,) = services.query("SELECT * FROM w").batches()
    found = {cell.path: cell.value for cell in rows_of(batch.rows)[0]}
    assert found == {("v", "0"): 1, ("v", "1"): 2, ("r", "a"): "t", ("r", "b"): None}


def test_looking_at_an_empty_stream_stores_nothing(services):
    stream(services)

    def tables():
        with services.database.cursor() as cursor:
            return cursor.execute("SELECT count(*) FROM duckdb_tables()").fetchall()[0][0]

    assert window(services) == []
    before = tables()
    for query in ("SELECT * FROM stream", "SELECT x, sum(y) AS y FROM stream GROUP BY x", "SELECT x FROM stream"):
        assert not [batch for batch in services.query(query).batches() if batch.rows.length]
    assert window(services) == []
    assert tables() == before


def test_a_chunk_that_took_nothing_is_not_saved(services):
    dataset = stream(services, chunk="beh.binary.mutable")
    with pytest.raises(MldbError, match="only record the value 1"):
        dataset.record_rows([(("r",), [(("x",), 2, 0.0)])])
    dataset.commit()
    assert names(services, "meta") == []
    dataset.record_rows([(("r",), [(("x",), 1, 0.0)])])
    dataset.commit()
    assert len(names(services, "meta")) == 1


def test_a_chunk_that_is_gone_is_opened_by_its_config(services):
    dataset = stream(services)
    dataset.record_rows([(("r",), [(("x",), 1, 0.0)])])
    chunk = dataset._chunk
    dataset.commit()
    services.delete("dataset", chunk)
    assert window(services) == []
    assert services.dataset(chunk).layout().rows == 0


def test_a_config_without_a_name_is_enough(services):
    dataset = stream(services, save="test.write")
    dataset.record_rows([(("r",), [(("x",), 1, 0.0)])])
    dataset.commit()
    assert window(services) == ["r"]


def test_it_saves_by_itself(services):
    dataset = stream(services, "0.05s")
    dataset.record_rows([(("r",), [(("x",), 1, 0.0)])])
    until(lambda: names(services, "meta"))
    assert window(services) == ["r"]


def test_it_goes_on_saving_after_a_failure(services):
    dataset = stream(services, "0.05s", chunk="test.moody")
    dataset.record_rows([(("r",), [(("x",), 1, 0.0)])])
    until(lambda: names(services, "meta"), "nothing was saved any more")
    assert window(services) == ["r"]


def test_what_cannot_be_saved_is_kept(services):
    dataset = stream(services, save="test.fail")
    dataset.record_rows([(("r",), [(("x",), 1, 0.0)])])
    with pytest.raises(MldbError):
        dataset.commit()
    assert names(services, "stream") == ["r"]
    assert names(services, "meta") == []


@pytest.mark.parametrize("interval", ["0s", "1 month", "-1s", "soon"])
def test_intervals_are_checked(services, interval):
    with pytest.raises(MldbError):
        stream(services, interval)
