"""Public plugins of MLDB, run from checkouts that environment variables name; what they load is served on loopback."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Client, RunningServer


@contextmanager
def site_of(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder are served."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def server_with(
    id: str, checkout: str, copy: Path, upstream: str, site: str, patch: Path | None = None
) -> Iterator[Client]:
    """A client of a server that runs a patched copy of a checkout, whose main.py loads from our site."""
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git"))
    if patch is not None:
        subprocess.run(["git", "apply", "--unidiff-zero", patch], cwd=copy, check=True)
    main = copy / "main.py"
    main.write_text(main.read_text().replace(upstream, site))
    running = RunningServer(copy.with_name("data"), "--fetch-private", "--file-root", str(copy))
    try:
        with running.client() as client:
            config = {"type": "python", "params": {"address": f"file://{copy}"}}
            answer = client.put(f"/v1/plugins/{id}", json=config, timeout=120)
            assert answer.status_code == 201, answer.text
            yield client
    finally:
        running.stop()
