"""Temporary files: below the data root, and gone with the server that made them or at the start of the next."""

from __future__ import annotations

import gc
import io
import tarfile
import time
from pathlib import Path

import pytest

from server.entities.backup import restore_backup, write_backup
from server.settings import Settings
from server.storage.database import Database
from tests.conftest import Client, RunningServer
from tests.waiting import SOON


def train(client: Client) -> None:
    client.put("/v1/datasets/points", json={"type": "tabular"})
    client.post("/v1/datasets/points/multirows", json=[[f"r{n}", [["x", n, 0], ["y", -n, 0]]] for n in range(20)])
    client.post("/v1/datasets/points/commit")
    params = {"trainingData": "SELECT x, y FROM points", "numClusters": 2, "outputDataset": "clusters"}
    client.must("PUT", "/v1/procedures/cluster", {"type": "kmeans.train", "params": params})


def test_nothing_stays_in_the_systems_folder(tmp_path):
    system = tmp_path / "tmp"
    system.mkdir()
    # Deeper than the path of a socket may be.
    data = tmp_path / ("deep" * 20) / "data"
    for end in ("stop", "kill", "stop"):
        server = RunningServer(data, environment={"TMPDIR": str(system)})
        try:
            assert not any((data / ".scratch").iterdir())
            with server.client() as client:
                train(client)
                assert client.get("/v1/datasets").json() == ["clusters", "points"]
            assert not any(system.iterdir())
        finally:
            getattr(server, end)()
        assert end == "kill" or not any((data / ".scratch").iterdir())
        (data / ".scratch" / "left").mkdir()
    assert not any(system.iterdir())


def test_a_second_server_leaves_the_first_ones_files_alone(start_server):
    server = start_server()
    (server.data_dir / ".scratch" / "used").touch()
    with pytest.raises(AssertionError, match="in use by another process"):
        start_server(data_dir=server.data_dir)
    assert (server.data_dir / ".scratch" / "used").exists()


class Watched(Database):
    """Tells where copies of it are made."""

    def snapshot(self, file: Path) -> None:
        self.copied = file
        super().snapshot(file)


def test_a_backup_that_a_kill_breaks_off_leaves_nothing_beside_the_data(tmp_path):
    settings = Settings(data_dir=tmp_path)
    settings.scratch.mkdir()
    database = Watched(settings.database_file)
    write_backup(settings, database, io.BytesIO())
    database.close()
    assert database.copied.is_relative_to(settings.scratch)
    assert not any(settings.scratch.iterdir())


def test_a_backup_leaves_no_garbage(tmp_path):
    """Megabytes that the collector comes for late."""
    settings = Settings(data_dir=tmp_path)
    settings.scratch.mkdir()
    database = Database(settings.database_file)
    gc.collect()
    gc.disable()
    try:
        write_backup(settings, database, io.BytesIO())
        # Not isinstance, which asks proxies of what may be gone.
        assert not [each for each in gc.get_objects() if issubclass(type(each), tarfile.TarFile)]
    finally:
        gc.enable()
    database.close()


def test_temporary_files_are_neither_data_nor_backed_up(start_server, tmp_path):
    server = start_server()
    (server.data_dir / ".scratch" / "used").write_text("x")
    with server.client() as client:
        params = {"dataFileUrl": "file:///mldb_data/.scratch/used", "outputDataset": "o"}
        answer = client.put("/v1/procedures/p", json={"type": "import.text", "params": params})
        assert answer.status_code == 403
        begun = time.monotonic()
        content = client.get("/v1/backup").content
        assert time.monotonic() - begun < SOON
    (tmp_path / "backup").write_bytes(content)
    with (tmp_path / "backup").open("rb") as file:
        restore_backup(file, tmp_path / "restored")
    assert not (tmp_path / "restored" / ".scratch").exists()
