"""Hatch's build hook: a wheel carries the bundled console, so it is made only where the bundle is."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        bundle = Path(self.root, "static", "console", "dist", "manifest.json")
        if version == "standard" and not bundle.is_file():
            raise FileNotFoundError(f"{bundle} is not there: run `make console` before the wheel is built")
