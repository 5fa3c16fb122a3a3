"""``mldb backup`` and ``mldb restore``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from server.cli.actions import speaks_to_server
from server.cli.client import Server, add_data_dir
from server.cli.output import add_json_flag, say


def add(commands: Any) -> None:
    backup = commands.add_parser("backup", help="write the data root of a running server into an archive")
    backup.add_argument("archive", type=Path, help="the file to write, as in mldb.tar.zst")
    speaks_to_server(backup, _backup)
    restore = commands.add_parser("restore", help="unpack an archive into a new data root")
    restore.add_argument("archive", type=Path)
    add_data_dir(restore, "an empty or absent folder (default: MLDB_DATA_DIR, or mldb_data)")
    add_json_flag(restore)
    restore.set_defaults(run=_restore)


def _backup(options: argparse.Namespace) -> int:
    if not options.archive.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {options.archive.parent}")
    draft = options.archive.with_name(f".{options.archive.name}.part")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:  # noqa: PTH123
            size = Server(options).download("/v1/backup", target)
        draft.replace(options.archive)
    finally:
        draft.unlink(missing_ok=True)
    text = f"{options.archive}: {_size_text(size)}; stored credentials are not in it"
    say(text, options, archive=str(options.archive), bytes=size)
    return 0


def _size_text(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 1 << 20 else f"{size / 2**10:.1f} KiB"


def _restore(options: argparse.Namespace) -> int:
    from server.entities.backup import restore_backup

    with options.archive.open("rb") as source:
        manifest = restore_backup(source, options.data_dir)
    text = f"{options.data_dir} holds the backup; start it with: mldb serve --data-dir {options.data_dir}"
    if manifest["links"]:
        text += f"\nleft out, as they are links to what is elsewhere: {', '.join(manifest['links'])}"
    say(text, options, dataDir=str(options.data_dir), **manifest)
    return 0
