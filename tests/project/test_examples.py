"""The examples of the README and the SQL guide, run as they are written against a real server.

curl is told to take the port of the test's server for 8080; nothing else of the text is changed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import Client, RunningServer
from tests.project.pages import Block, blocks
from tests.project.sources import ROOT
from tests.waiting import PATIENCE, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]


class Shell:
    """Runs blocks in a folder whose ``mldb_data`` is the server's data root."""

    def __init__(self, folder: Path, server: RunningServer, client: Client) -> None:
        self.folder = folder
        self.client = client
        port = httpx.URL(server.url).port
        (folder / ".curlrc").write_text(f'connect-to = "localhost:8080:127.0.0.1:{port}"\nfail-with-body\n')

    def run(self, block: Block) -> str:
        """Standard output; the test fails when any command of the block does."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {
            **os.environ, "CURL_HOME": str(self.folder), "MLDB_SERVER": str(self.client.base_url), "PATH": path,
        }  # fmt: skip
        script = ["bash", "-euo", "pipefail", "-c", block.text]
        done = subprocess.run(
            script, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, f"{block.id}: {done.stdout}{done.stderr}\n{self._log()}"
        return done.stdout

    def _log(self) -> str:
        """The end of the server's log: blocks throw answers away."""
        return (self.folder / "mldb_data" / "logs" / "mldb.log").read_text()[-2000:]


@contextmanager
def running(folder: Path) -> Iterator[Shell]:
    server = RunningServer(folder / "mldb_data")
    try:
        with server.client() as client:
            yield Shell(folder, server, client)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running(tmp_path_factory.mktemp("examples")) as shell:
        yield shell


def examples(file: Path) -> list[tuple[Block, Block | None]]:
    """Blocks marked ``run``, each with the JSON block that follows it and is its expected output."""
    found = blocks(file)
    followers = [*found[1:], None]
    return [
        (block, after if after is not None and after.language == "json" else None)
        for block, after in zip(found, followers, strict=True)
        if block.mark == "run"
    ]


PAGES = [ROOT / "README.md", *(ROOT / "docs" / name for name in ("command-line.md", "tutorial.md", "models.md"))]


@pytest.mark.parametrize(
    ("block", "expected"),
    [example for page in PAGES for example in examples(page)],
    ids=lambda value: getattr(value, "id", ""),
)
def test_readme(shell: Shell, block: Block, expected: Block | None):
    for route in re.findall(r"curl .*localhost:8080(/v1/plugins/\w+/routes[^\"\s]*)", block.text):
        wait_for_route(shell.client, route)
    output = shell.run(block)
    if expected:
        assert json.loads(output) == json.loads(expected.text)


def wait_for_route(client: Client, route: str) -> None:
    """A reader takes some seconds to the next block; the test is faster than a settled folder."""
    until(lambda: client.get(route).status_code != 404, f"{route} did not appear")


GUIDE = ROOT / "docs" / "sql-guide.md"


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A server on which all commands of the guide were run."""
    with running(tmp_path_factory.mktemp("guide")) as shell:
        for block, expected in examples(GUIDE):
            output = shell.run(block)
            if expected:
                assert json.loads(output) == json.loads(expected.text), block.id
        yield shell


@pytest.mark.parametrize("block", [b for b in blocks(GUIDE) if b.language == "sql"], ids=lambda block: block.id)
def test_sql_guide(guide: Shell, block: Block):
    rows = guide.client.query(block.text)
    assert tuple(tuple(shown(cell) for cell in row) for row in rows) == block.table


def shown(cell: object) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell)


def test_python_client_page(shell: Shell):
    """The blocks of the page, one after the other in one program."""
    found = [block for block in blocks(ROOT / "docs" / "client.md") if block.language == "python"]
    assert all(block.mark == "run" for block in found)
    program = "".join(block.text for block in found).replace("http://localhost:8080", str(shell.client.base_url))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
