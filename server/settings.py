"""Every setting of the server: name, default, help. Flags and ``MLDB_*`` variables are made from this table."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


def setting(default: Any, help: str, *, repeat: bool = False) -> Any:
    """A row of the table; ``repeat`` marks flags that may be given several times (lists)."""
    metadata = {"help": help, "repeat": repeat}
    if repeat:
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Settings:
    """One field per setting: ``port`` is ``--port`` and ``MLDB_PORT``."""

    host: str = setting("127.0.0.1", "Address to listen on; any other than loopback needs a token")
    port: int = setting(8080, "Port to listen on; 0 takes a free one")
    data_dir: Path = setting(Path("mldb_data"), "Data root: plugins, models, logs and the database")
    file_root: list[Path] = setting((), "Further folder that file: URLs may point into", repeat=True)
    fetch_private: bool = setting(False, "Let the fetcher reach loopback and private addresses")
    fetch_size: int = setting(16384, "Largest answer that is read from the network, in MiB")
    fetch_time: float = setting(3600.0, "Seconds that reading one resource from the network may take")
    read_size: int = setting(1024, "Largest resource that is read into memory as a whole, in MiB")
    archive_size: int = setting(65536, "Largest size that an archive or compressed file may unpack to, in MiB")
    archive_ratio: int = setting(1000, "Largest ratio of unpacked to packed size, beyond the first 64 MiB")
    memory_files: int = setting(1024, "Size that all mem:// files may have together, in MiB")
    token: str = setting("", "Token that requests must carry; made up when listening beyond loopback")
    request_timeout: float = setting(60.0, "Seconds a plugin request may take before its worker is replaced")
    worker_memory: int = setting(2048, "Memory limit of a plugin worker in MiB")


def setting_names() -> list[str]:
    return [field.name for field in fields(Settings)]
