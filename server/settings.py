"""Every setting of the server: name, default, help. Flags and ``MLDB_*`` variables are made from this table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

_PREFIX: Final = "MLDB_"  # of the variables
_HIGHEST_PORT: Final = 65535


def setting(default: Any, help: str, *, repeat: bool = False) -> Any:
    """A row of the table; ``repeat`` marks flags that may be given several times (lists)."""
    metadata = {"help": help, "repeat": repeat}
    if repeat:
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Settings:
    """One field per setting: ``port`` is ``--port`` and ``MLDB_PORT`` (lists there are separated by commas)."""

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
    sftp_known_hosts: str = setting(
        "", "File of host keys that sftp: servers must have; empty: known_hosts below data-dir"
    )
    token: str = setting("", "Token that requests must carry; made up when listening beyond loopback")
    plugin_port: int = setting(0, "Port of plugin pages once there is a token; 0 takes the one after port")
    plugin_origin: str = setting("", "Web origin of plugin pages, such as https://apps.example, instead of that port")
    allowed_host: list[str] = setting((), "Further name that a Host header may carry", repeat=True)
    allowed_origin: list[str] = setting((), "Web origin whose pages may call the API", repeat=True)
    plugin_directory: list[Path] = setting((), "Further folder to scan for mldb_plugin.json", repeat=True)
    request_timeout: float = setting(60.0, "Seconds a plugin request may take before its worker is replaced")
    start_timeout: float = setting(300.0, "Seconds of its own that a plugin's main.py may take")
    restart_wait: float = setting(2.0, "Seconds that a plugin request waits for a worker that is being restarted")
    script_timeout: float = setting(3600.0, "Seconds of its own that a script may take")
    otlp_endpoint: str = setting("", "OpenTelemetry collector that traces go to, such as http://localhost:4318")
    log_size: int = setting(16, "Size of a log file in MiB before the next one is begun")
    log_files: int = setting(8, "Log files that are kept below the data root")
    worker_memory: int = setting(2048, "Memory limit of a plugin worker in MiB")
    model_memory: int = setting(4096, "Memory limit of the model worker (TensorFlow) in MiB; 0 sets none")
    model_timeout: float = setting(120.0, "Seconds a model may take for a batch before its worker is replaced")
    model_bf16: bool = setting(True, "Let models compute in bfloat16 where the processor has it")
    model_size: int = setting(8192, "Largest model file that is read, packed and unpacked, in MiB")
    image_pixels: int = setting(50_000_000, "Most pixels that a picture given to a model may have")
    run_history: int = setting(1000, "Runs of a procedure that are kept once they have ended, the last ones")
    job_memory: int = setting(0, "Memory that a training job may allocate, in MiB; 0 sets no limit")
    boosting_weights: int = setting(
        250, "Weights (one for each row and label) that boosting may have, in millions: some 8 GB; 0 sets no limit"
    )
    query_timeout: float = setting(0.0, "Seconds a query over HTTP may take; 0 sets no limit")
    result_size: int = setting(1024, "Largest answer to a query in MiB; 0 sets no limit")
    query_views: int = setting(1000, "Views that a query may read, each counted as often as it is read")
    regex_time: float = setting(1.0, "Seconds that a regular expression may take for one text")
    jseval_time: float = setting(10.0, "Seconds that jseval may take for 2048 rows")
    jseval_memory: int = setting(256, "Memory that a jseval script may use in MiB")
    database_memory: str = setting("", "Memory that DuckDB may use, such as 4GB; empty leaves its own choice")
    database_threads: int = setting(0, "Threads that DuckDB may use; 0 leaves its own choice")
    max_body: int = setting(512, "Largest request body in MiB")
    upload_size: int = setting(65536, "Largest data file that may be uploaded, in MiB")
    head_size: int = setting(64, "Largest head of a request (address and headers) in KiB")
    body_timeout: float = setting(60.0, "Seconds for the head of a request, and without a further byte of its body")
    json_depth: int = setting(200, "Deepest nesting of a JSON body")
    saved_queries: int = setting(1000, "Queries that may be saved on the server")
    plugin_size: int = setting(256, "Largest size that an uploaded plugin may unpack to, in MiB")
    plugin_files: int = setting(10_000, "Files that an uploaded plugin may have")
    install_timeout: float = setting(900.0, "Seconds for the git command, and for the packages that a plugin asks for")
    event_streams: int = setting(64, "Streams of events (open consoles) served at once")
    max_connections: int = setting(2048, "Connections served at once; more are answered 503")

    def __post_init__(self) -> None:
        """``ValueError`` names the setting whose value cannot be."""
        for row in rows():
            value = getattr(self, row.name)
            if isinstance(value, int | float) and not value >= 0:  # not a number is neither
                raise ValueError(f"{row.flag} {value}: this must be 0 or more")
            if row.name in ("port", "plugin_port") and value > _HIGHEST_PORT:
                raise ValueError(f"{row.flag} {value}: ports go up to {_HIGHEST_PORT}")

    @property
    def database_file(self) -> Path:
        return self.data_dir / "mldb.duckdb"

    @property
    def known_hosts(self) -> Path:
        return Path(self.sftp_known_hosts).expanduser() if self.sftp_known_hosts else self.data_dir / "known_hosts"

    @property
    def scratch(self) -> Path:
        """For temporary files, which may be as large as the data are. Emptied at the start."""
        return self.data_dir.resolve() / ".scratch"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the settings table, as the command line and the documentation need it."""

    name: str
    kind: type
    default: Any
    help: str
    repeat: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return _PREFIX + self.name.upper()

    def parse(self, text: str) -> Any:
        """Read a value; ValueError when the text is not of the setting's kind."""
        if self.kind is bool:
            return parse_boolean(text)
        return self.kind(text)


def parse_boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"{text!r} is not a boolean; use true or false")


def rows() -> Iterator[Row]:
    """The table, in order."""
    hints = get_type_hints(Settings)
    for each in fields(Settings):
        repeat = each.metadata["repeat"]
        kind = get_args(hints[each.name])[0] if repeat else hints[each.name]
        default = [] if each.default is MISSING else each.default
        yield Row(each.name, kind, default, each.metadata["help"], repeat)


def environment_of_others() -> dict[str, str]:
    """The environment for code that is not the server's: without its settings, which hold secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Values of the ``MLDB_*`` variables that are set; ValueError names the variable."""
    values: dict[str, Any] = {}
    for row in rows():
        text = environment.get(row.variable)
        if text is None:
            continue
        try:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            values[row.name] = [row.parse(part) for part in parts] if row.repeat else row.parse(text)
        except ValueError as error:
            raise ValueError(f"{row.variable}: {error}") from None
    return values
