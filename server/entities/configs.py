"""Configurations of entities as they are sent and shown, and ids."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from server.entities import jsontext
from server.entities.types import nearest_name
from server.errors import MldbError

MEMBERS = ("id", "type", "params", "persistent", "deterministic")
_LONGEST_SHOWN = 200  # characters of a body that is no configuration
MAX_ID = 1000  # bytes: ids become URLs and log lines
_DEFAULTS = {"id": "", "type": "", "params": None, "persistent": False, "deterministic": True}


def config_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as sent, default-valued members left out, ``params`` free-form."""
    shown = {name: config[name] for name in MEMBERS if config.get(name, _DEFAULTS[name]) != _DEFAULTS[name]}
    if "params" in shown:
        shown["params"] = jsontext.free(shown["params"])
    return shown


def parse_config(value: Any) -> dict[str, Any]:
    """Check an entity config: an object with known members of the right kinds."""
    if not isinstance(value, dict):
        hint = ". Did you accidentally JSON encode your object into a string?" if isinstance(value, str) else ""
        shown = jsontext.free_form(value).decode()
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
        raise MldbError(f"an entity configuration must be an object, not {shown}{hint}")
    for name in value:
        if name not in MEMBERS:
            nearest = nearest_name(name, MEMBERS)
            hint = f"; did you mean '{nearest}'?" if nearest else ""
            raise MldbError(f"unknown field parsing PolyConfig: '{name}'{hint}")
    for name in ("id", "type"):
        if not isinstance(value.get(name, ""), str):
            raise MldbError(f"error parsing PolyConfig: '{name}' must be a string")
    return value


def encode_id(id: str) -> str:
    """JavaScript's encodeURIComponent."""
    return quote(id, safe="-_.!~*'()")


def generated_id(config: Mapping[str, Any]) -> str:
    content = hashlib.blake2b(jsontext.free_form(dict(config)), digest_size=8).hexdigest()
    return f"auto_{content}_{secrets.token_hex(8)}"


def check_id(id: str) -> str:
    """Ids are any text, but they must fit into a URL and a log line."""
    if "\0" in id or len(id.encode("utf-8", "surrogatepass")) > MAX_ID:
        raise MldbError(f"ids must be at most {MAX_ID} bytes long and have no NUL")
    return id
