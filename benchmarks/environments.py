"""Environments of peers that must not share ours: made at their first use, kept under ``build/``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
JAVA_PACKAGE = "default-jre-headless"


def environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages."""
    folder = ROOT / "build" / "peers" / name
    python, mark = folder / "bin" / "python", folder / "complete"
    if mark.exists() and mark.read_text().split() == list(packages):
        return python
    if uv := shutil.which("uv"):
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(python), *packages)
    else:
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", *packages)
    mark.write_text("\n".join(packages))
    return python


def need_java() -> None:
    """Install Java with apt where it lacks; ``RuntimeError`` where that is not ours to do."""
    if shutil.which("java"):
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise RuntimeError(f"H2O and Spark need Java: install {JAVA_PACKAGE}")
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-y", "-qq", JAVA_PACKAGE)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)
