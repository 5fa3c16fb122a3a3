"""``mldb plugin install|remove|test``: the folders of plugins below a data root, and the tests that lie in them."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from server.cli.actions import action, add_id
from server.cli.client import Server, add_place_flags, segment
from server.cli.output import add_json_flag, say, show
from server.entities.plugin_drafts import draft
from server.settings import Settings, from_environment

# Runs in a script worker of the server: the folder of the plugin is on its path, `mldb` is the server.
_TESTS = """
import io, os, sys, unittest
from mldb import mldb

folder = mldb.script.args["folder"]
sys.path.insert(0, folder)
os.chdir(folder)
suite = unittest.defaultTestLoader.discover(folder, pattern="test*.py", top_level_dir=folder)
report = io.StringIO()
done = unittest.TextTestRunner(report, verbosity=2, buffer=True).run(suite)
mldb.script.set_return({"ok": done.wasSuccessful(), "run": done.testsRun, "report": report.getvalue()})
"""


def add_actions(actions: Any) -> None:
    install = actions.add_parser(
        "install", help="copy a plugin into a data root, where a running server loads it at once"
    )
    install.add_argument("source", help="a folder, a zip archive, or the address of a git repository")
    install.add_argument("--name", help="the plugin's name (default: that of the source)")
    _finish(install, _install)
    remove = actions.add_parser("remove", help="delete the folder of a plugin; a running server drops it at once")
    remove.add_argument("name")
    _finish(remove, _remove)
    add_id(
        action(actions, "test", _test, "run the tests of a plugin in a worker of a running server"), "plugin", "name"
    )


def _finish(parser: argparse.ArgumentParser, run: Any) -> None:
    add_place_flags(parser)
    add_json_flag(parser)
    parser.set_defaults(run=run)


def _install(options: argparse.Namespace) -> int:
    name = checked_name(options.name or default_name(options.source))
    if options.server:
        _send(Server(options), options.source, name)
        say(f"{name} was installed", options, installed=name)
        return 0
    folder = install(options.source, options.data_dir / "plugins", name)
    say(f"{folder.name} was installed: {folder}", options, installed=folder.name, folder=str(folder))
    return 0


def _send(server: Server, source: str, name: str) -> None:
    """Have a server unpack the plugin, complete or not at all; one of that name is refused, as ``install`` does."""
    if name in server.json("GET", "/v1/plugin-folders"):
        raise FileExistsError(f"there is a plugin folder {name} already: remove it first (mldb plugin remove {name})")
    with tempfile.TemporaryDirectory() as folder:
        content = _content(_obtain(source, Path(folder)))
        shutil.rmtree(content / ".git", ignore_errors=True)
        packed = Path(shutil.make_archive(f"{folder}/packed", "zip", content))
        server.upload(f"/v1/plugin-folders/{name}", packed)


def _remove(options: argparse.Namespace) -> int:
    if options.server:
        Server(options).text("DELETE", f"/v1/plugin-folders/{checked_name(options.name)}")
        say(f"{options.name} was removed", options, removed=options.name)
        return 0
    folder = options.data_dir / "plugins" / checked_name(options.name)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no plugin folder {folder}")
    with draft(folder.parent) as hidden:
        folder.rename(hidden / "gone")  # at once: a server must not see a half-deleted plugin as a changed one
    say(f"{options.name} was removed", options, removed=options.name)
    return 0


def install(source: str, plugins: Path, name: str) -> Path:
    """Put a plugin into ``plugins/name``, complete or not at all; ``ValueError`` for what is no plugin."""
    folder = plugins / checked_name(name)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: remove it first (mldb plugin remove {name})")
    plugins.mkdir(parents=True, exist_ok=True)
    with draft(plugins) as made:
        content = _content(_obtain(source, made))
        content.chmod(0o755)
        content.rename(folder)
    return folder


def _obtain(source: str, folder: Path) -> Path:
    target = folder / "content"
    path = Path(source)
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    elif path.is_file():
        _unpack(path, target)
    elif "://" in source or source.endswith(".git"):
        _clone(source, target)
    else:
        raise FileNotFoundError(f"{source} is neither a folder, an archive nor an address")
    return target


def _clone(source: str, target: Path) -> None:
    command = ["git", "clone", "--quiet", "--depth", "1", "--", source, str(target)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - the address is the user's own
    if done.returncode:
        raise OSError(f"git could not clone {source}: {done.stderr.strip()}")


def _unpack(archive: Path, target: Path) -> None:
    """``extractall`` keeps members inside the target; what it unpacks to is limited here as a server does it."""
    most = int(from_environment(os.environ).get("plugin_size", Settings.plugin_size))
    try:
        with zipfile.ZipFile(archive) as members:
            if sum(member.file_size for member in members.infolist()) > most << 20:
                raise ValueError(f"{archive} unpacks to more than the {most} MiB that MLDB_PLUGIN_SIZE allows")
            members.extractall(target)
    except zipfile.BadZipFile:
        raise ValueError(f"{archive} is no zip archive") from None


def _content(target: Path) -> Path:
    """The folder with main.py or main.js: archives often hold one folder with everything."""
    from server.entities.plugin_sources import has_main

    members = list(target.iterdir())
    if not has_main(target) and len(members) == 1 and members[0].is_dir():
        target = members[0]
    if not has_main(target):
        raise ValueError("this is no plugin: it has no main.py or main.js")
    return target


def default_name(source: str) -> str:
    """The last part of a path or address, without what tells its kind."""
    return re.sub(r"\.(zip|git)$", "", source.rstrip("/").rpartition("/")[2])


def checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise ValueError(f"{name!r} will not do: a plugin's name has letters, digits, - and _ (choose one with --name)")
    return name


def _test(options: argparse.Namespace) -> int:
    server = Server(options)
    config = server.json("GET", f"/v1/plugins/{segment(options.name)}")["config"]
    address = str((config.get("params") or {}).get("address", ""))
    if not address.startswith("file://"):
        raise ValueError(f"{options.name} is not in a folder of the server's machine: its tests cannot be found")
    body = {"source": _TESTS, "args": {"folder": address.removeprefix("file://")}}
    answer = server.json("POST", "/v1/types/plugins/python/routes/run", body)
    result = answer["result"]
    if options.json:
        show(result)
    else:
        print(result["report"], end="")  # noqa: T201
    if not result["run"]:
        raise ValueError(f"{options.name} has no tests: they are in files test_*.py of its folder")
    return 0 if result["ok"] else 1
