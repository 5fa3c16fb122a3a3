"""Routes of plugins (rest-api.md §10): everything is answered by the plugin itself."""

from __future__ import annotations

import functools

from server.entities.json_answers import FreeForm, Typed
from server.entities.routes import Call
from server.errors import MldbError
from server.http.answers import OBJECT, OWN, STATUS, answers, ref
from server.http.collections import hand_on, hook
from server.http.host import Host

_ONE = "/v1/plugins/{plugin}"


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    add(
        "GET PUT POST DELETE", f"{_ONE}/routes/{{*}}", bind(hand_on, host, "plugin", "route"),
        summary="The plugin's own routes", replies=OWN, lenient=True,
    )  # fmt: skip
    add(
        "GET", f"{_ONE}/doc/{{*}}", bind(hand_on, host, "plugin", "documentation"),
        summary="The plugin's documentation", replies=OWN, lenient=True,
    )  # fmt: skip
    add(
        "GET",
        f"{_ONE}/version",
        bind(_version, host),
        summary="Where the plugin's code came from",
        replies=answers(OBJECT),
    )
    add(
        "GET",
        f"{_ONE}/report",
        bind(_report, host),
        summary="How the plugin is served: its worker, its requests, its last failures",
        replies=answers(ref("PluginReport")),
    )
    add(
        "POST",
        f"{_ONE}/reload",
        bind(_reload, host),
        summary="Start the plugin anew; the old one serves until then",
        replies=STATUS,
    )
    add(
        "POST",
        f"{_ONE}/stop",
        bind(_stop, host),
        summary="End the plugin's worker; a reload starts it again",
        replies=STATUS,
    )


async def _stop(host: Host, call: Call) -> Typed:
    entry = host.registry.entry("plugin", call["plugin"])
    stop = hook(host, "plugin", "stop", call)
    if stop is None:
        raise MldbError(f"plugin '{call['plugin']}' cannot be stopped: DELETE it to end it")
    await stop()
    return Typed(entry.status())


async def _reload(host: Host, call: Call) -> Typed:
    """200 with the status when the new generation serves; 400 when it failed and the old one goes on."""
    entry = host.registry.entry("plugin", call["plugin"])
    reload = hook(host, "plugin", "reload", call)
    if reload is None:
        raise MldbError(f"plugin '{call['plugin']}' cannot be reloaded: PUT its configuration again to start it anew")
    if not await reload():
        raise MldbError(f"plugin '{call['plugin']}' could not be reloaded; its status says why", details=entry.status())
    return Typed(entry.status())


def _report(host: Host, call: Call) -> FreeForm:
    report = hook(host, "plugin", "report", call)
    if report is None:
        raise MldbError(f"plugin '{call['plugin']}' tells nothing of how it is served")
    return FreeForm(report())


def _version(host: Host, call: Call) -> FreeForm:
    version = hook(host, "plugin", "version", call)
    return FreeForm({} if version is None else version())
