"""The function ``http.useragent``: what a browser says of itself (entity-types.md §4.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Params
from server.errors import MldbError
from server.learning.function_inputs import require_atom
from server.transfer.results import column_atoms
from server.values.atoms import atom_text
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind

_AGENT = ("ua",)
_TEXTS = (
    ("os", "family"), ("os", "version"), ("browser", "family"), ("browser", "version"), ("device", "brand"),
    ("device", "model"),
)  # fmt: skip
_OUTPUT = RowType((*(Column(path, Kind.STRING) for path in _TEXTS), Column(("isSpider",), Kind.INTEGER)))
_LONGEST = 4096  # characters looked at: expressions are tried one by one on texts that strangers send

Found = tuple[str | None, str | None, str | None, str | None, str | None, str | None, int | None]


class AgentParams(Params):
    regexFile: str | None = Field(
        default=None, description="URL of a regexes.yaml of the uap-core project; a built-in one when left out"
    )


def parse_agent(parser: Any, agent: str) -> Found:
    """Families, versions (major.minor.patch, 0 where one is not told), the device, and whether it is a crawler."""
    result = parser.parse(agent[:_LONGEST]).with_defaults()
    system, browser, device = result.os, result.user_agent, result.device
    return (
        system.family,
        _version(system.major, system.minor, system.patch),
        browser.family,
        _version(browser.major, browser.minor, browser.patch),
        device.brand,
        device.model,
        int(device.family == "Spider"),
    )


def _version(*parts: str | None) -> str:
    return ".".join(part or "0" for part in parts)


@dataclass(frozen=True)
class AgentFunction:
    """Parses user agent texts; null gives nulls."""

    parser: Any

    input = RowType((Column(_AGENT, Kind.STRING),))
    output = _OUTPUT

    def bind(self, given: RowType) -> BoundFunction:
        require_atom(given, _AGENT[0], "text")
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        found: list[Sequence[str | int | None]] = [
            (None,) * len(_OUTPUT.columns) if agent is None else parse_agent(self.parser, atom_text(agent))
            for agent in column_atoms(batch, _AGENT[0])
        ]
        types = [pa.string()] * len(_TEXTS) + [pa.int64()]
        values = [pa.array([row[at] for row in found], type_) for at, type_ in enumerate(types)]
        return RowBatch(_OUTPUT, batch.length, values)


def _create(creation: Creation) -> AgentFunction:
    import ua_parser
    from ua_parser import loaders

    if creation.params.regexFile is None:
        return AgentFunction(ua_parser.Parser.from_matchers(loaders.load_builtins()))
    data = creation.services.urls.read(creation.params.regexFile).content
    return AgentFunction(ua_parser.Parser.from_matchers(_matchers(data)))


def _matchers(data: bytes) -> Any:
    import yaml
    from ua_parser import loaders

    try:
        regexes = yaml.safe_load(data)
        return loaders.load_data(
            tuple(regexes[name] for name in ("user_agent_parsers", "os_parsers", "device_parsers"))
        )
    except (yaml.YAMLError, re.error, KeyError, TypeError, AttributeError) as error:
        raise MldbError(f"The 'regexFile' is not a regexes.yaml of the uap-core project: {error}") from None


TYPES = [
    EntityType(
        "function",
        "http.useragent",
        AgentParams,
        "Tells system, browser and device of a user agent text",
        _create,
        "`ua` goes in; `os`, `browser`, `device` and `isSpider` come out.",
    )
]
