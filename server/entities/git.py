"""Clones of plugin repositories (plugin-runtime.md §3) with the git command, kept from doing anything else.

Only ``https`` is spoken, and git's own protocol to private addresses where the settings let us reach those. No
configuration of the machine, hook, submodule, credential helper or prompt takes part; arguments are lists, and nothing
that a caller gives can be read as an option.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from server.errors import MldbError
from server.transfer.addresses import checked_addresses, is_public, resolve

_LONGEST_FILE: Final = 2**24  # bytes that are read of a repository's list of branches and tags
_HTTPS: Final = 443
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SAFE_LOCATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:\[\]-]*/[^\s\0]*")


def clone(address: str, folder: Path, *, private: bool, seconds: float) -> dict[str, str]:
    """Clone ``git://host/path#rev`` (or ``gist:``) into an empty folder; the version object.

    ``seconds``: how long each command may take, the setting install-timeout.
    """
    location, _, revision = address.partition("://")[2].partition("#")
    if not _SAFE_LOCATION.fullmatch(location) or revision.startswith("-"):
        raise MldbError(f"Unsupported URL: {address}")
    url = _url(location, private=private)
    _git(["clone", "--quiet", "--no-recurse-submodules", "--", url, str(folder)], seconds)
    text = partial(_text, folder, seconds)
    branch = text("rev-parse", "--abbrev-ref", "HEAD")
    if revision:
        branch = revision
        _git(["-C", str(folder), "checkout", "--quiet", "--detach", _commit(text, revision)], seconds)
    return {
        "address": f"//{location}",
        "branch": branch,
        "message": text("log", "-1", "--format=%B"),
        "revision": text("rev-parse", "HEAD^{tree}"),
    }


def head(folder: Path) -> dict[str, str]:
    """``branch`` (the commit where there is none) and ``commit`` of a folder that is a repository, else {}.

    Read from its files: the git command would follow what the repository's own configuration says.
    """
    try:
        pointer = _content(folder / ".git" / "HEAD")
        name = pointer.removeprefix("ref: ")
        commit = pointer if name == pointer else _commit_of(folder / ".git", name)
    except (OSError, UnicodeDecodeError):
        return {}
    return {"branch": name.removeprefix("refs/heads/"), "commit": commit} if _HASH.fullmatch(commit) else {}


def _commit_of(repository: Path, name: str) -> str:
    loose = repository / name
    if loose.is_relative_to(repository / "refs") and ".." not in loose.parts and loose.is_file():
        return _content(loose)
    packed = _content(repository / "packed-refs").splitlines()
    return next((line.partition(" ")[0] for line in packed if line.endswith(f" {name}")), "")


def _content(file: Path) -> str:
    if not file.is_file():  # a pipe, say: a plugin can write there
        raise FileNotFoundError(file)
    with file.open("rb") as source:
        return source.read(_LONGEST_FILE).decode().strip()


def _url(location: str, *, private: bool) -> str:
    host = urlsplit(f"//{location}")
    try:
        name, port = host.hostname or "", host.port
    except ValueError:
        raise MldbError(f"Unsupported URL: {location}") from None
    if host.username is not None or not name:
        raise MldbError(f"Unsupported URL: {location}")
    checked_addresses(name, port or _HTTPS, private=private)
    local = private and not all(is_public(found) for found in resolve(name, port or _HTTPS))
    return f"git://{location}" if local else f"https://{location}"


def _commit(text: Callable[..., str], revision: str) -> str:
    for name in (revision, f"origin/{revision}"):
        try:
            return text("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except MldbError:
            continue
    raise MldbError(f"the repository has no revision '{revision}'")


def _text(folder: Path, seconds: float, *arguments: str) -> str:
    return _git(["-C", str(folder), *arguments], seconds).strip()


def _git(arguments: list[str], seconds: float) -> str:
    options = {
        "protocol.allow": "never",
        "protocol.https.allow": "always",
        "protocol.git.allow": "always",  # chosen by _url for private addresses only
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "core.symlinks": "false",  # a link in a repository could point at any file of this machine
        "credential.helper": "",
        "http.followRedirects": "false",  # an answer must not lead to an address that was not checked
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments, checked above
            ["git", *settings, *arguments],  # noqa: S607 - git as the operator installed it
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise MldbError(
            "git is not installed on this machine; a plugin may come as a folder or an archive too"
        ) from None
    except subprocess.TimeoutExpired:
        raise MldbError(f"git did not end within the {seconds:g} s that the setting install-timeout allows") from None
    if done.returncode != 0:
        raise MldbError(done.stderr.decode("utf-8", "replace").strip() or f"git ended with {done.returncode}")
    return done.stdout.decode("utf-8", "replace")


def _environment() -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy") if name in os.environ
    }
    return kept | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
    }
