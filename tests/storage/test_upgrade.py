"""Data roots of earlier versions open with this one: made by ``make_data_root.py``, named by their commit."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from server.values.atoms import timestamp_text
from server.values.cityhash import hash_path
from tests.learning.models import TRAININGS
from tests.rest.test_survival import wait_restored

ROOTS = sorted((Path(__file__).parent / "data_roots").glob("*.tar.xz"))


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


def test_there_is_a_data_root():
    assert ROOTS


@pytest.mark.parametrize("archive", ROOTS, ids=lambda archive: archive.name.partition(".")[0])
def test_an_earlier_data_root_works(archive, tmp_path, start_server):
    server = start_server(data_dir=unpacked(archive, tmp_path / "data"))
    with server.client() as client:
        wait_restored(client)
        for name, rows in (("wide", 10), ("cells", 10), ("both", 10)):
            assert client.query(f"SELECT count(*) AS n FROM {name}", "atom") == rows
        assert client.query("SELECT sum(double({x})[y]) AS s FROM wide", "atom") == 90
        row = {"_rowName": "r7", "x": 7, "label": 1, "text": "größe"}
        assert client.query("SELECT x, label, text FROM cells WHERE rowName() = 'r7'", "aos")[0] == row
        scores = [client.query(f"SELECT classify({{features: {{x: {x}}}}})[score] AS s", "atom") for x in (0, 9)]
        assert scores[0] < scores[1]
        assert client.get("/v1/plugins/old/routes/x").json() == 10
        assert client.post("/v1/datasets/cells/rows", json={"rowName": "new", "columns": [["x", 1, 0]]}).is_success
        assert client.post("/v1/datasets/cells/commit").is_success
        assert client.query("SELECT count(*) AS n FROM cells", "atom") == 11
        assert client.post("/v1/procedures/train/runs", json={}).status_code == 201


def test_models_of_a_version_that_kept_no_origin_work(tmp_path, start_server):
    server = start_server(data_dir=unpacked(ROOTS[0].parent / "d646cb6.tar.xz", tmp_path / "data"))
    with server.client() as client:
        wait_restored(client)
        for name, training in TRAININGS.items():
            function = training.function(name)
            details = client.get(f"/v1/functions/{function}/details").json()
            assert len(details["digest"]) == 64
            # Only classifiers told anything then.
            assert set(details["origin"]) <= {"query", "params", "libraries"}
            if training.call:
                assert client.query(f"SELECT {function}{training.call} AS *", "aos")


def test_rows_named_by_numbers_whose_hash_was_stored(tmp_path, start_server):
    server = start_server(data_dir=unpacked(ROOTS[0].parent / "930d284.tar.xz", tmp_path / "data"))
    with server.client() as client:
        wait_restored(client)
        query = "SELECT x, rowHash() AS h FROM {} ORDER BY x % 2 LIMIT 6"
        before = client.query(query.format("numbered"), "aos")
        copy = {"inputData": "SELECT * FROM numbered", "outputDataset": {"id": "copy", "type": "tabular"}}
        assert client.put("/v1/procedures/copy", json={"type": "transform", "params": copy}).is_success
        assert client.query(query.format("copy"), "aos") == before
        by_hash = sorted(range(10), key=lambda x: (x % 2, hash_path((str(x),))))
        assert [row["x"] for row in before] == by_hash[:6]


def test_times_that_were_told_by_the_number_of_the_row(tmp_path, start_server):
    server = start_server(data_dir=unpacked(ROOTS[0].parent / "94e091c.tar.xz", tmp_path / "data"))
    with server.client() as client:
        wait_restored(client)
        times = "SELECT x, latest_timestamp({*}) AS t FROM timed ORDER BY x"
        wanted = [(n, timestamp_text(n * 7 % 40)) for n in range(40)]
        assert [(row["x"], row["t"]["ts"]) for row in client.query(times, "aos")] == wanted
        later = [["r3", [["x", 3, 100]]], ["r40", [["x", 40, 102], ["y", 40, 7]]]]
        assert client.post("/v1/datasets/timed/multirows", json=later).is_success
        assert client.post("/v1/datasets/timed/commit").is_success
        wanted[3] = (3, timestamp_text(100))
        wanted.append((40, timestamp_text(102)))
        assert [(row["x"], row["t"]["ts"]) for row in client.query(times, "aos")] == wanted
        assert client.get("/v1/datasets/timed/timestampRange").json() == [timestamp_text(0), timestamp_text(102)]
