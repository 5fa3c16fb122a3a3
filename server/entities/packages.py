"""Packages of a plugin's own (plugin-runtime.md §2): ``requirements.txt`` or ``pyproject.toml`` in its folder.

They are installed once per set of requirements, into a folder that workers of the plugin search before the host's own
packages. Only requirements count: a line that is an option, a path or a URL is refused, as it could make the
installer read or run something else.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from server.errors import MldbError
from server.settings import environment_of_others

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_LONGEST_FILE: Final = 2**20


def requirements(folder: Path) -> list[Requirement]:
    """What the folder asks for beyond what the host has; ``MldbError`` for lines that are no requirements."""
    lines = _requirement_lines(folder / "requirements.txt") or _project_lines(folder / "pyproject.toml")
    wanted = [_parse(line) for line in lines]
    return [one for one in wanted if (one.marker is None or one.marker.evaluate()) and not _satisfied(one)]


def _read(path: Path) -> str:
    if not path.is_file():
        return ""
    if path.stat().st_size > _LONGEST_FILE:
        raise MldbError(f"{path.name} is too long")
    return path.read_text(encoding="utf-8", errors="replace")


def _requirement_lines(path: Path) -> list[str]:
    lines = (line.partition(" #")[0].strip() for line in _read(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _project_lines(path: Path) -> list[str]:
    try:
        project = tomllib.loads(_read(path)).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise MldbError(f"{path.name}: {error}") from None
    lines = project.get("dependencies", []) if isinstance(project, dict) else []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise MldbError(f"{path.name}: project.dependencies is no list of texts")
    return lines


def _parse(line: str) -> Requirement:
    if line.startswith("-"):
        raise MldbError(f"options are not allowed among the requirements: {line[:100]}")
    # Few plugins ask for packages: a server's start need not wait for the parser.
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        raise MldbError(f"not a requirement: {line[:100]}") from None
    if requirement.url is not None:
        raise MldbError(f"requirements name packages, not places: {line[:100]}")
    return requirement


def _satisfied(requirement: Requirement) -> bool:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return not requirement.extras and requirement.specifier.contains(version, prereleases=True)


@dataclass(frozen=True)
class Environments:
    """Where packages are installed: below ``root``, by way of ``scratch`` on the same disk, within ``seconds``."""

    root: Path
    scratch: Path
    seconds: float

    def provide(self, folder: Path) -> tuple[str, ...]:
        """Search paths with the packages that a plugin folder asks for, installed when they are not yet.

        Blocks for as long as an installation takes. ``MldbError`` when it fails.
        """
        wanted = sorted(str(requirement) for requirement in requirements(folder))
        if not wanted:
            return ()
        digest = hashlib.sha256("\n".join([sys.version, sys.platform, *wanted]).encode()).hexdigest()
        place = self.root / digest[:24]
        if not place.is_dir():
            _install(wanted, place, self.scratch, self.seconds)
        return (str(place),)


def _install(wanted: list[str], place: Path, scratch: Path, seconds: float) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="packages-") as work:
        listed = Path(work, "requirements.txt")
        listed.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        target = Path(work, "packages")
        _run([*_installer(), "--target", str(target), "--requirement", str(listed)], seconds)
        try:
            target.rename(place)
        except OSError:
            # Another plugin with the same requirements was quicker.
            if not place.is_dir():
                raise


def _installer() -> list[str]:
    """uv where it can be had, else pip: that of our environment, or, as in the container, one beside it."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", sys.executable]
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        metadata.version("pip")
    except metadata.PackageNotFoundError:
        # That of our interpreter first: one of the system's may be too old for our Python.
        pip = shutil.which("pip", path=f"{sys.base_prefix}/bin") or shutil.which("pip")
        if pip is None:
            text = "neither uv nor pip is there to install the plugin's requirements: put one of them on the PATH"
            raise MldbError(text) from None
        return [pip, "--python", sys.executable, *install]
    return [sys.executable, "-P", "-m", "pip", *install]


def _run(command: list[str], seconds: float) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments; requirements come in a file and were parsed
            command,
            env=environment_of_others(),  # with UV_* and PIP_*: they are how an operator names a mirror
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MldbError(
            f"the plugin's requirements could not be installed within the {seconds:g} s that the setting "
            "install-timeout allows"
        ) from None
    if done.returncode != 0:
        text = done.stderr.decode("utf-8", "replace").strip()[-2000:]
        raise MldbError(f"the plugin's requirements could not be installed: {text}")
