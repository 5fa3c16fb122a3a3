"""``mldb doctor``: looks at the machine as a server would find it, and says what to do about what is wrong."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from server.cli.flags import add_settings, settings_from
from server.cli.output import add_json_flag, show_rows
from server.extras import remedy
from server.http.security import is_loopback
from server.settings import Settings

_NEEDED_MB = 1024
_NEEDED_FILES = 4096


@dataclass(frozen=True)
class Finding:
    """What a check found; ``remedy`` is "" when all is well."""

    check: str
    state: Literal["ok", "warning", "error"]
    found: str
    remedy: str = ""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="check the machine, ports, weights and permissions",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add_settings(parser)
    add_json_flag(parser)
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    findings = list(examine(settings_from(options)))
    show_rows([asdict(finding) for finding in findings], ("check", "state", "found", "remedy"), options)
    return 1 if any(finding.state == "error" for finding in findings) else 0


def examine(settings: Settings) -> Iterator[Finding]:
    """All checks for a server with these settings."""
    yield _python()
    yield _port(settings)
    yield _data_root(settings)
    yield _disk(settings)
    yield _memory(settings)
    yield _processes()
    yield _exposure(settings)
    yield _tool("git", "plugins at git addresses")
    yield _tool("uv", "plugins with a requirements.txt")
    yield _library("tensorflow", "tensorflow", "tensorflow.graph and the image classifier")
    yield _library("pandas", "client", "the notebook client")
    yield _weights(settings)


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _port(settings: Settings) -> Finding:
    address = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            taken = f"{address}: {error.strerror}"
            return Finding(
                "port", "error", taken, "stop what listens there, or choose another: --port 0 takes a free one"
            )
    return Finding("port", "ok", f"{address} is free")


def _data_root(settings: Settings) -> Finding:
    root = settings.data_dir.resolve()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(
            "data root", "error", f"{existing}: {error.strerror}", "make it writable, or choose another --data-dir"
        )
    database = settings.database_file
    if database.exists() and not os.access(database, os.R_OK | os.W_OK):
        return Finding("data root", "error", f"{database} cannot be written", f"chown it to {os.getuid()}")
    return Finding("data root", "ok", f"{root} can be written")


def _disk(settings: Settings) -> Finding:
    root = settings.data_dir.resolve()
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free // 2**20
    if free < _NEEDED_MB:
        return Finding(
            "disk", "warning", f"{free} MiB free", "make room: queries that exceed memory spill beside the database"
        )
    return Finding("disk", "ok", f"{free // 1024} GiB free")


def _memory(settings: Settings) -> Finding:
    import psutil

    total = psutil.virtual_memory().total // 2**20
    if total < settings.model_memory + _NEEDED_MB:
        remedy = (
            f"lower --model-memory ({settings.model_memory} MiB) and --worker-memory ({settings.worker_memory} MiB)"
        )
        return Finding("memory", "warning", f"{total} MiB", remedy)
    return Finding("memory", "ok", f"{total // 1024} GiB, {os.cpu_count()} processors")


def _processes() -> Finding:
    import resource

    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)  # the server raises the soft limit itself
    if 0 <= files < _NEEDED_FILES:
        return Finding("open files", "warning", f"limit {files}", "raise it: ulimit -Hn 4096")
    return Finding("open files", "ok", f"limit {files}")


def _exposure(settings: Settings) -> Finding:
    if is_loopback(settings.host):
        return Finding("exposure", "ok", "loopback only")
    if not settings.token:
        return Finding("exposure", "warning", f"{settings.host}, a token is made up at each start", "set MLDB_TOKEN")
    return Finding("exposure", "ok", f"{settings.host}, with a token")


def _tool(name: str, use: str) -> Finding:
    found = shutil.which(name)
    return Finding(name, "ok", found) if found else Finding(name, "warning", "missing", f"install {name} for {use}")


def _library(name: str, extra: str, use: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, "warning", "missing", f"{remedy(extra)}, for {use}")
    return Finding(name, "ok", "installed")


def _weights(settings: Settings) -> Finding:
    """The weights of the reference plugin, by its variable or below the data root."""
    named = os.environ.get("INCEPTION_WEIGHTS", "")
    if named:
        if named.startswith(("http://", "https://")) or Path(named.removeprefix("file://")).is_file():
            return Finding("weights", "ok", named)
        return Finding("weights", "error", f"{named} is no file", "set INCEPTION_WEIGHTS to a file or an address")
    folder = settings.data_dir / "models" / "image_classifier"
    present = sorted(folder.glob("*.h5"))
    if present:
        return Finding("weights", "ok", ", ".join(str(file) for file in present))
    remedy = "they are fetched at first use; offline, put Inception-v3's there, or set INCEPTION_WEIGHTS to their file"
    return Finding("weights", "warning", f"no .h5 file in {folder}", remedy)
