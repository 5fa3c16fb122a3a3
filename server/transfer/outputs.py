"""Output datasets that rows are recorded into one by one."""

from __future__ import annotations

from typing import Any

from server.declarations import Dataset, Services


def recording_dataset(services: Services, spec: Any, default_type: str) -> Dataset:
    """The dataset that a parameter asks for. A table takes new columns as they come, unless its parameters say else:
    which columns there are is known only when the last row is there.
    """
    config: dict[str, Any] = {"id": spec} if isinstance(spec, str) else dict(spec or {})
    config["type"] = config.get("type") or default_type
    if config["type"] == "tabular":
        config["params"] = {"unknownColumns": "add", **(config.get("params") or {})}
    return services.output_dataset(config, default_type)[1]
