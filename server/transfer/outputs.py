"""Output datasets that rows are recorded into one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.declarations import Dataset, Progress, Recorded, Services

_CHUNK_ROWS = 10_000
_CHECKED_ROWS = 100  # made before a cancel is looked for


def recording_dataset(services: Services, spec: Any, default_type: str) -> Dataset:
    """The dataset that a parameter asks for. A table takes new columns as they come, unless its parameters say else:
    which columns there are is known only when the last row is there.
    """
    config: dict[str, Any] = {"id": spec} if isinstance(spec, str) else dict(spec or {})
    config["type"] = config.get("type") or default_type
    if config["type"] == "tabular":
        config["params"] = {"unknownColumns": "add", **(config.get("params") or {})}
    return services.output_dataset(config, default_type)[1]


def record_all(dataset: Dataset, rows: Iterator[Recorded], progress: Progress) -> int:
    """Record rows in chunks and commit; their number."""
    count = 0
    chunk: list[Recorded] = []
    for row in rows:
        chunk.append(row)
        if not len(chunk) % _CHECKED_ROWS:
            progress.check()
        if len(chunk) == _CHUNK_ROWS:
            count += len(chunk)
            dataset.record_rows(chunk)
            progress.update(count)
            chunk = []
    dataset.record_rows(chunk)
    dataset.commit()
    return count + len(chunk)
