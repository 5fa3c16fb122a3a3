"""``/v1/plugin-folders``: folders of plugins in the data root, put there, listed and removed by an operator."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from server.entities.json_answers import Typed, empty
from server.entities.parameters import Param
from server.entities.plugin_uploads import PluginUploads
from server.entities.routes import Call
from server.entities.scaffold import create_plugin
from server.errors import Conflict, MldbError
from server.http.answers import GONE, NAMES, TEXT, answers, members
from server.http.host import Host
from server.messages import Response

_ONE = "/v1/plugin-folders/{plugin}"


def register(host: Host) -> None:
    root = host.settings.data_dir.resolve() / "plugins"
    uploads = PluginUploads(host.settings)
    add = host.resources.add
    add(
        "GET",
        "/v1/plugin-folders",
        lambda _: Typed(uploads.names()),
        summary="List the folders of plugins",
        replies=NAMES,
    )
    add(
        "PUT",
        _ONE,
        partial(_install, host, uploads),
        Param("address", "", help="git address to install from, instead of a body: git://host/path#revision"),
        summary="Install a plugin from the zip archive in the body, or from a git repository",
        replies=answers(members({"id": TEXT}), 201),
    )
    add(
        "POST",
        _ONE,
        partial(_new, root),
        Param("type", "python", help="python or javascript"),
        summary="Make a new plugin: a page, a route and a function to start from",
        replies=answers(members({"id": TEXT}), 201),
    )
    add("DELETE", _ONE, partial(_remove, uploads), summary="Remove a plugin with its folder", replies=GONE)


def _install(host: Host, uploads: PluginUploads, call: Call) -> Typed:
    _refuse_code(call)
    if call["address"]:
        uploads.clone(call["plugin"], call["address"])
    elif call.request.body:
        uploads.install(call["plugin"], call.request.body)
    else:
        raise MldbError("the body must be a zip archive of the plugin's folder, or address a git repository")
    running = host.registry.serving("plugin", call["plugin"])
    if running is not None:
        # Its watch followed the folder that is gone now.
        host.registry.create("plugin", running.config)
    return Typed({"id": call["plugin"]}, 201)


def _new(root: Path, call: Call) -> Typed:
    _refuse_code(call)
    try:
        create_plugin(root, call["plugin"], call["type"])
    except ValueError as error:
        raise MldbError(str(error)) from None
    except FileExistsError:
        raise Conflict(f"there is a plugin folder '{call['plugin']}' already") from None
    return Typed({"id": call["plugin"]}, 201)


def _remove(uploads: PluginUploads, call: Call) -> Response:
    _refuse_code(call)
    uploads.remove(call["plugin"])
    return empty(204)


def _refuse_code(call: Call) -> None:
    # What runs in a worker is confined to what it was installed as: it may not install more.
    if call.request.in_process:
        raise MldbError("plugins and scripts may not change plugin folders", code=403)
