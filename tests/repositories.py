"""Git repositories on loopback."""

from __future__ import annotations

import contextlib
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class _Daemon(socketserver.ThreadingTCPServer):
    """Hands each connection to a git daemon of its own: one that listened itself could not choose its port."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.command = ["git", "daemon", "--inetd", "--export-all", f"--base-path={folder}"]
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Daemon)
        pipes = {"stdin": self.request, "stdout": self.request, "stderr": subprocess.DEVNULL}
        subprocess.run(self.server.command, check=False, **pipes)


@contextlib.contextmanager
def served(work: Path) -> Iterator[str]:
    """The address of the repository in a folder, served over git's own protocol."""
    with _Daemon(work.parent) as daemon:
        threading.Thread(target=daemon.serve_forever, args=(0.05,)).start()
        try:
            yield f"git://127.0.0.1:{daemon.server_address[1]}/{work.name}"
        finally:
            daemon.shutdown()


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
