"""What is released fits together: version and changelog, dependencies, lock and constraints."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from server import __version__
from tests.project.sources import ROOT, Module, modules


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked() -> list[dict]:
    return tomllib.loads((ROOT / "uv.lock").read_text())["package"]


def test_version_is_the_top_entry_of_the_changelog():
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading
    assert heading[1] == __version__


def test_constraints_pin_what_the_lock_pins():
    """pip and uv install the same versions."""
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    constrained = {line.partition(";")[0].strip() for line in lines}
    pinned = {f"{package['name']}=={package['version']}" for package in locked() if package["name"] != "mldb"}
    assert constrained == pinned, "run make lock"


def test_lock_follows_the_declared_dependencies():
    metadata = next(package for package in locked() if package["name"] == "mldb")["metadata"]
    project = pyproject()
    extras = project["project"]["optional-dependencies"].values()
    declared = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    assert names(metadata["requires-dist"]) == {Requirement(text).name for text in declared}, "run make lock"
    for group, texts in project["dependency-groups"].items():
        assert names(metadata["requires-dev"][group]) == {Requirement(text).name for text in texts}, "run make lock"


def names(requirements: list[dict]) -> set[str]:
    return {requirement["name"] for requirement in requirements}


def test_lock_is_current():
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    check = subprocess.run([uv, "lock", "--check", "--offline"], cwd=ROOT, capture_output=True, text=True)
    if "offline" in check.stderr or "network" in check.stderr:
        pytest.skip("uv has not cached the index")
    assert check.returncode == 0, check.stderr


def pythons() -> list[tuple[int, int]]:
    """The versions of Python that are promised."""
    found = (
        re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", text)
        for text in pyproject()["project"]["classifiers"]
    )
    return [(3, int(match[1])) for match in found if match]


@pytest.mark.parametrize("python", pythons())
def test_nothing_has_to_be_compiled(python):
    """`make run` assumes Python and make, no C++ compiler."""
    tags = {str(tag) for tag in (*cpython_tags(python, platforms=["any"]), *compatible_tags(python, platforms=["any"]))}
    packages = {package["name"] for package in locked() if package["name"] != "mldb"}
    fitting = {package["name"] for package in locked() if fits(package, tags)}
    assert packages - fitting == set()


def fits(package: dict, tags: set[str]) -> bool:
    """Whether a wheel for Linux has one of these tags; their platform is ``any``."""
    files = [wheel["url"].rpartition("/")[2] for wheel in package.get("wheels", [])]
    return any(
        f"{tag.interpreter}-{tag.abi}-any" in tags
        for name in files
        for tag in parse_wheel_filename(name)[3]
        if tag.platform == "any" or ("manylinux" in tag.platform and "x86_64" in tag.platform)
    )


def test_the_promised_pythons_are_named_where_one_chooses():
    promised = [f"{major}.{minor}" for major, minor in pythons()]
    assert pyproject()["project"]["requires-python"] == f">={promised[0]}"
    *others, last = promised
    for file in ("README.md", "Makefile"):
        assert f"Python {', '.join(others)} or {last}" in (ROOT / file).read_text()


def test_licence_is_declared_and_present():
    assert pyproject()["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


# What an import is called where it differs from the package, for packages that the test environment may lack.
PACKAGES_OF_IMPORTS = {
    "bson": "pymongo",
    "PIL": "pillow", "lightgbm": "lightgbm", "markdown_it": "markdown-it-py",
    "py_mini_racer": "mini-racer", "quickjs": "quickjs-ng", "sklearn": "scikit-learn",
    "tensorflow": "tensorflow", "google": "tensorflow", "keras": "tensorflow", "libarchive": "libarchive-c",
    "opentelemetry": "opentelemetry-sdk",
    "snappy": "python-snappy", "faiss": "faiss-cpu", "dateutil": "python-dateutil", "yaml": "pyyaml",
}  # fmt: skip


def test_what_is_imported_is_declared():
    """A module that happens to come with something else would vanish with it."""
    project = pyproject()["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    declared = {Requirement(text).name.lower() for text in [*project["dependencies"], *extras]}
    undeclared = {
        f"{name} imports {package}"
        for name, module in modules().items()
        for package in third_party(module)
        if PACKAGES_OF_IMPORTS.get(package, package).lower().replace("_", "-") not in declared
    }
    assert not undeclared


# Declared though no module of ours imports them: what does.
IMPORTED_BY_OTHERS = {
    "cssselect": "lxml", "httptools": "uvicorn", "uvloop": "uvicorn", "pytz": "DuckDB, for timestamps with a zone",
    "python-dateutil": "plugins", "pyzstd": "plugins", "requests": "plugins, and pymldb",
}  # fmt: skip


def test_what_is_declared_is_imported():
    packages = {PACKAGES_OF_IMPORTS.get(name, name) for module in modules().values() for name in third_party(module)}
    imported = {package.lower().replace("_", "-") for package in packages}
    declared = {Requirement(text).name.lower() for text in pyproject()["project"]["dependencies"]}
    assert declared - imported - IMPORTED_BY_OTHERS.keys() == set()


def third_party(module: Module) -> set[str]:
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found - sys.stdlib_module_names - {"server", "runtime", "mldb", "pymldb"}


def test_browser_tests_run_where_it_counts():
    """Without a browser they are skipped; on the continuous integration that would hide a broken page."""
    if os.environ.get("CI") != "true":
        pytest.skip("only asked of the continuous integration")
    assert shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
