"""Requirements of plugins: which lines are taken, and an installation for real, from a local wheel."""

import json
import os
import shutil
import sys
import zipfile
from importlib import metadata
from unittest import mock

import pytest

from server.entities import packages
from server.entities.packages import requirements
from server.errors import MldbError
from tests.waiting import PATIENCE


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.example/simple",
        "-r other.txt",
        "-e .",
        "name @ https://evil.example/name.whl",
        "./local",
        "git+https://evil.example/x.git",
        "name; rm -rf /",
        "$(touch x)",
    ],
)
def test_lines_that_are_no_requirements_are_refused(tmp_path, line):
    (tmp_path / "requirements.txt").write_text(f"# comment\n\n{line}\n")
    with pytest.raises(MldbError):
        requirements(tmp_path)


def test_what_the_host_has_is_not_wanted(tmp_path):
    (tmp_path / "requirements.txt").write_text("pytest>=1  # here\nmissing-thing==1.0\nother; python_version<'3'\n")
    assert [str(one) for one in requirements(tmp_path)] == ["missing-thing==1.0"]
    (tmp_path / "requirements.txt").unlink()
    (tmp_path / "pyproject.toml").write_text("[project]\nname='x'\ndependencies=['missing-two']\n")
    assert [str(one) for one in requirements(tmp_path)] == ["missing-two"]


def wheel(folder, name, version):
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def test_a_pip_beside_an_environment_without_one_installs(tmp_path, monkeypatch):
    """As in the container, whose environment uv has made and left. One of the system may be too old for our Python."""
    which = shutil.which
    if which("pip", path=f"{sys.base_prefix}/bin") is None:
        pytest.skip("no pip beside the interpreter")
    absent = mock.Mock(side_effect=metadata.PackageNotFoundError("pip"))
    monkeypatch.setattr(packages.metadata, "version", absent)
    monkeypatch.setattr(packages.shutil, "which", lambda name, **where: which(name, **where) if name == "pip" else None)
    monkeypatch.setenv("PATH", os.defpath)
    wheel(tmp_path / "wheels", "sample_of_ours", "1.0")
    for name, value in {"FIND_LINKS": str(tmp_path / "wheels"), "NO_INDEX": "1", "NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    packages._install(["sample-of-ours==1.0"], tmp_path / "made" / "here", tmp_path, PATIENCE)
    assert (tmp_path / "made" / "here" / "sample_of_ours.py").is_file()
    monkeypatch.setattr(packages.shutil, "which", lambda name, **_: None)
    with pytest.raises(MldbError, match="put one of them on the PATH"):
        packages._install(["sample-of-ours==1.0"], tmp_path / "made" / "there", tmp_path, PATIENCE)


def test_each_plugin_has_its_own_version(start_server, tmp_path):
    wheels = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        wheel(wheels, "sample_of_ours", version)
    # Whichever installer is there finds the wheels, and nothing else.
    environment = {"UV_FIND_LINKS": str(wheels), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}
    environment |= {"PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"}
    server = start_server(environment=environment)
    sources = server.data_dir / "sources"
    with server.client() as client:
        for version in ("1.0", "2.0", "3.0"):
            folder = sources / version
            folder.mkdir(parents=True)
            (folder / "requirements.txt").write_text(f"sample-of-ours=={version}\n")
            (folder / "main.py").write_text("import sample_of_ours, numpy")
            (folder / "routes.py").write_text("import sample_of_ours\nrequest.set_return(sample_of_ours.version)")
            config = {"type": "python", "params": {"address": f"file://{folder}"}}
            answer = client.put(f"/v1/plugins/p{version}", content=json.dumps(config))
            if version == "3.0":
                assert answer.status_code == 400
                assert "could not be installed" in answer.json()["error"]
            else:
                assert answer.status_code == 201, answer.text
                assert client.get(f"/v1/plugins/p{version}/routes/x").text == f'"{version}"\n'


def test_an_installation_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "_installer", lambda: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(MldbError, match=r"within the 0\.2 s that the setting install-timeout allows"):
        packages._install(["sample-of-ours==1.0"], tmp_path / "made", tmp_path, 0.2)
