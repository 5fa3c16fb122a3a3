"""A disk that fills up, or turns read-only, under a running server: errors that say so, and nothing is lost."""

from __future__ import annotations

import random
import resource
import subprocess
from pathlib import Path

import pytest

from tests.rest.test_survival import fill, wait_restored


@pytest.fixture
def disk(tmp_path: Path):
    """A file system of 64 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def kept(client) -> list[str]:
    return sorted(client.get("/v1/datasets/kept/rows").json())


def alive(client) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.query("SELECT count(*) AS n FROM kept")[1][1] == 3
    assert kept(client) == ["r0", "r1", "r2"]


def refused(answer) -> None:
    assert answer.status_code >= 400, answer.text
    told = set(answer.json())
    assert told >= {"error", "httpCode"} or told >= {"error", "kind", "resource"}  # below what could not be made
    assert "/disk" not in answer.text


def changes(client, name):
    """What would be written: a commit, an entity, a run."""
    rows = [[f"n{row}", [["x", f"{row} {'text' * 20}", 0]]] for row in range(2000)]
    yield client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"})
    yield client.post(f"/v1/datasets/{name}/multirows", json=rows)
    yield client.post(f"/v1/datasets/{name}/commit")
    yield client.put(f"/v1/procedures/{name}", json={"type": "null"})


def fill_up(disk: Path) -> Path:
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        for _ in iter(lambda: file.write(b"\0" * 4096), 0):
            pass
    return filler


def test_a_full_disk(disk, start_server):
    server = start_server(data_dir=disk / "data")
    with server.client() as client:
        fill(client, "kept")
        alive(client)
        filler = fill_up(disk)
        answers = list(changes(client, "more"))
        assert 507 in [answer.status_code for answer in answers]
        for answer in answers:
            if answer.status_code >= 400:
                refused(answer)
        alive(client)
        filler.unlink()
        for answer in changes(client, "after"):
            assert answer.is_success, answer.text
        alive(client)
    server.kill()
    server = start_server(data_dir=disk / "data")
    with server.client() as client:
        wait_restored(client)
        alive(client)
        assert client.query("SELECT count(*) AS n FROM after")[1][1] == 2000
        assert client.get("/v1/procedures/after").json()["state"] == "ok"
    server.stop()


def test_what_is_written_to_be_read_says_so(disk, start_server):
    """The functions of SQL before the first query of a data root, small commits before they are read."""
    server = start_server(data_dir=disk / "data")
    with server.client() as client:
        fill(client, "kept")
        filler = fill_up(disk)
        query = client.get("/v1/query", params={"q": "SELECT 1"})
        status = client.get("/v1/datasets/kept")
        for answer, what in ((query, "the functions of SQL"), (status, "the last commits of a dataset")):
            assert answer.status_code == 507
            told = answer.json()["error"]
            assert told.startswith(what), told
            assert told.endswith("nothing is lost, but the disk is full: make room, then ask again"), told
        filler.unlink()
        alive(client)
    server.stop()


def test_a_disk_that_turns_read_only(disk, start_server):
    """As a disk does after an error of its own: what is open for writing stays so, nothing new can be opened."""
    server = start_server(data_dir=disk / "data")
    with server.client() as client:
        fill(client, "kept")
    server.kill()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(AssertionError, match="Read-only file system"):
        start_server(data_dir=disk / "data")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    server = start_server(data_dir=disk / "data")
    with server.client() as client:
        wait_restored(client)
        alive(client)
    server.stop()


@pytest.fixture
def image(tmp_path: Path):
    """An ext4 file system in a file, which can turn read-only under its users."""
    folder, file = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    with file.open("wb") as made:
        made.truncate(64 << 20)
    for command in (["mkfs.ext4", "-q", file], ["mount", "-o", "loop", file, folder]):
        try:
            subprocess.run(command, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting an image needs root and a loop device")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_turns_read_only_under_the_server(image, start_server):
    server = start_server(data_dir=image / "data")
    with server.client() as client:
        fill(client, "kept")
        client.must(
            "PUT", "/v1/plugins/p", {"type": "python", "params": {"source": {"routes": "request.set_return(7)"}}}
        )
        alive(client)
        subprocess.run(["chattr", "-R", "+i", image / "data"], check=True)
        answers = list(changes(client, "more"))
        assert answers[0].status_code == 507
        assert "data-dir" in answers[0].json()["error"]
        alive(client)
        assert client.post("/v1/plugins/p/stop").status_code == 507
        assert client.post("/v1/plugins/p/reload").status_code == 200
        subprocess.run(["chattr", "-R", "-i", image / "data"], check=True)
        for answer in changes(client, "after"):
            assert answer.is_success, answer.text
        alive(client)
        subprocess.run(["mount", "-o", "remount,abort", image], check=True)
        answers = list(changes(client, "never"))
        assert "read-only" in answers[0].json()["error"]
        assert not any(answer.is_success for answer in answers)
        alive(client)
        assert client.get("/v1/plugins/p/routes/x").json() == 7
    assert server.stop() == 0


def test_a_limit_on_the_size_of_files(start_server):
    server = start_server()
    with server.client() as client:
        fill(client, "kept")
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2**20, limits[1]))
        rows = [[f"n{row}", [["x", random.randbytes(150).hex(), 0]]] for row in range(10_000)]
        client.must("PUT", "/v1/datasets/large", {"type": "tabular"})
        client.must("POST", "/v1/datasets/large/multirows", rows)
        answers = [client.post("/v1/datasets/large/commit") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [507, 507]
        assert "ulimit -f" in answers[0].json()["error"]
        alive(client)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
        assert client.post("/v1/datasets/large/commit").status_code == 200
        alive(client)
    server.kill()
    server = start_server(data_dir=server.data_dir)
    with server.client() as client:
        wait_restored(client)
        alive(client)
        assert client.query("SELECT count(*) AS n FROM large")[1][1] == 10_000
