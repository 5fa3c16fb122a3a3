"""Git repositories on loopback."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def served(work: Path) -> Iterator[str]:
    """The address of the repository in a folder, served by a git daemon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = ["--listen=127.0.0.1", f"--port={port}"]
    command = ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={work.parent}", *address]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _await(port)
        yield f"git://127.0.0.1:{port}/{work.name}"
    finally:
        subprocess.run(["kill", "--", f"-{daemon.pid}"], check=False)
        daemon.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def committed(work: Path, files: dict[str, str], message: str = "x") -> None:
    """Write files and commit them, into a new repository where there is none."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / ".git").exists():
        git(work, "init", "-q", "-b", "master")
    for name, text in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    git(work, "add", ".")
    git(work, "commit", "-qm", message)
