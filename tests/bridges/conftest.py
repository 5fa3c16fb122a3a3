"""Real servers of other databases: Debian's PostgreSQL, and one that speaks MongoDB's protocol and keeps its files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymongo
import pytest

from tests.conftest import RunningServer
from tests.ports import free_port
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that may reach databases of this machine."""
    running = RunningServer(tmp_path_factory.mktemp("server") / "data", "--fetch-private")
    yield running
    running.stop()


def postgresql_programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[dict[str, object]]:
    """A cluster of its own: where it is, as the parameters of MLDB's types name it."""
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    # pytest's own folders are closed to the user that PostgreSQL runs as.
    temporary = tempfile.TemporaryDirectory(prefix="mldb-postgresql-")
    folder = Path(temporary.name)
    folder.chmod(0o777)
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    port = free_port()
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "mldb", "--auth=trust", "--no-sync", "--locale=C", "-E",
         "UTF8"],
        check=True, capture_output=True, user=user, cwd=folder,
    )  # fmt: skip
    process = subprocess.Popen(
        [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-c", "fsync=off", "-c",
         "listen_addresses=localhost"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
    )  # fmt: skip
    try:
        _wait(lambda: psycopg.connect(host="localhost", port=port, user="mldb", dbname="postgres").close(), process)
        yield {"host": "localhost", "port": port, "databaseName": "postgres"}
    finally:
        process.send_signal(signal.SIGINT)  # does not wait for clients
        process.wait(PATIENCE)
        temporary.cleanup()


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a database."""
    port = free_port()
    folder = tmp_path_factory.mktemp("mongodb")
    program = Path(sys.executable).parent / "secantusd-py"
    process = subprocess.Popen(
        [program, "--host", "127.0.0.1", "--port", str(port), "--storage-path", folder / "data"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    try:
        with pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=500) as client:
            _wait(lambda: client.admin.command("ping"), process)
        yield f"mongodb://127.0.0.1:{port}/shop"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(attempt, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        try:
            attempt()
        except (psycopg.OperationalError, pymongo.errors.PyMongoError):
            assert process.poll() is None, "the database server ended"
            return False
        return True

    until(answers, "the database server does not answer")
