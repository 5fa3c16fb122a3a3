"""The container files keep their promises: non-root, read-only root, health check, no secret inside.

No engine runs where the tests do, so the files themselves are read; ``docker compose config`` joins in where it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
import yaml
from compose_spec import PyCompose

from runtime import pool
from server import serve
from server.entities import dispatch, plugin_host
from tests.project.sources import ROOT

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """The Dockerfile's instructions in order, continuation lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for line in lines if line.strip() for word, _, rest in [line.strip().partition(" ")]]


def stage(number: int) -> list[Instruction]:
    starts = [at for at, (word, _) in enumerate(instructions()) if word == "FROM"] + [None]
    return instructions()[starts[number] : starts[number + 1]]


def given(stage: list[Instruction], word: str) -> list[str]:
    return [rest for name, rest in stage if name == word]


def service() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["mldb"]


def test_base_images_are_pinned_to_a_version():
    for image in given(instructions(), "FROM"):
        assert re.match(r"\S+:\d[\w.-]*( AS \w+)?$", image)


def test_image_installs_the_locked_versions():
    syncs = [line for line in given(stage(0), "RUN") if "uv sync" in line]
    assert syncs
    assert all("--locked" in line for line in syncs)


def test_copied_paths_exist_and_reach_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    for source in ("pyproject.toml", "uv.lock", "server", "runtime", "plugins", "static", "README.md", "LICENSE"):
        assert f"!{source}" in ignored
        assert (ROOT / source).exists()


def test_image_has_no_compiler_and_no_package_manager_of_ours():
    assert not [line for line in given(stage(1), "RUN") if "uv " in line or "pip" in line]


def test_image_has_git_for_plugins_from_git_addresses_and_nothing_else_of_the_system():
    (line,) = [line for line in given(stage(1), "RUN") if "apt-get" in line]
    assert re.findall(r"install (.*?) +&&", line) == ["--yes --no-install-recommends git"]
    assert line.endswith("rm -rf /var/lib/apt/lists/*")


def test_image_runs_as_an_ordinary_user():
    users = given(stage(1), "USER")
    assert users == ["10001:10001"]
    assert [line for line in given(stage(1), "RUN") if "--uid 10001" in line]


def test_image_writes_only_to_the_volume_and_tmp():
    environment = " ".join(given(stage(1), "ENV"))
    assert given(stage(1), "VOLUME") == ["/mldb_data"]
    assert "MLDB_DATA_DIR=/mldb_data" in environment
    assert "HOME=/tmp" in environment
    assert "PYTHONDONTWRITEBYTECODE=1" in environment


def test_two_slashes_lead_to_the_data_root():
    """And what lies there is imported by no Python."""
    assert given(stage(1), "WORKDIR") == ["/mldb_data"]
    assert "PYTHONSAFEPATH=1" in " ".join(given(stage(1), "ENV"))


def test_both_check_health_without_a_token():
    probe = "http://127.0.0.1:8080/healthz"
    assert any(probe in line for line in given(stage(1), "HEALTHCHECK"))
    assert any(probe in word for word in service()["healthcheck"]["test"])


def test_no_secret_is_built_in():
    assert not re.search(r"(?i)(token|password|secret)\s*=\s*\S", (ROOT / "Dockerfile").read_text())
    assert service()["environment"]["MLDB_TOKEN"].startswith("${MLDB_TOKEN:?")


def test_service_is_locked_down():
    mldb = service()
    assert mldb["read_only"] is True
    assert mldb["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in mldb["security_opt"]
    assert all(mount.startswith("/tmp") for mount in mldb["tmpfs"])
    assert mldb["volumes"] == ["mldb_data:/mldb_data"]
    assert all(port.startswith("127.0.0.1:") for port in mldb["ports"])
    assert not mldb.get("privileged")


def test_the_engine_leaves_the_server_its_threads_and_the_time_to_stop():
    """Of its limit of processes each thread counts as one."""
    assert service()["pids_limit"] >= dispatch._THREADS + 4 * pool.MAX_THREADS
    closing = serve._STOP_SECONDS + plugin_host._CLOSING_SECONDS
    assert int(service()["stop_grace_period"].removesuffix("s")) >= 2 * closing
    assert service()["init"] is True  # who reaps what plugins leave behind


def resolved() -> str:
    """The compose file with its variables as a user sets them."""
    values = {"MLDB_TOKEN": "secret", "MLDB_SITE": "mldb.example"}
    text = (ROOT / "docker-compose.yml").read_text()
    return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: values.get(found[1], found[2] or ""), text)


def test_the_compose_file_keeps_to_its_specification():
    """Every service, whatever its profile; references to configs and volumes too."""
    composed = PyCompose.from_yaml(resolved())
    composed.validate()
    services = composed.to_spec().services
    assert {name: service.profiles for name, service in services.items()} == {
        "mldb": None, "proxy": {"tls"}, "prometheus": {"metrics"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("profiles: [tls]", "profiels: [tls]"),
        ("read_only: true", "read_only: maybe"),
        ("restart: unless-stopped", "restart: sometimes"),
        ("source: caddy", "source: nobody"),
    ],
)
def test_that_check_would_see_a_mistake(given, wrong):
    with pytest.raises(ValueError, match=wrong.split(": ")[1].strip("[]") + "|profiels"):
        PyCompose.from_yaml(resolved().replace(given, wrong)).validate()


def test_the_configurations_of_proxy_and_prometheus_parse():
    configs = yaml.safe_load(resolved())["configs"]
    prometheus = yaml.safe_load(configs["prometheus"]["content"])
    (job,) = prometheus["scrape_configs"]
    assert (job["metrics_path"], job["authorization"]) == ("/metrics", {"credentials": "secret"})
    caddy = configs["caddy"]["content"]
    assert caddy.count("{") == caddy.count("}")
    assert re.findall(r"^(\S+) \{", caddy, re.MULTILINE) == ["mldb.example", "mldb.example:8443"]
    assert re.findall(r"reverse_proxy (\S+)", caddy) == ["mldb:8080", "mldb:8080"]  # the second by MLDB_PLUGIN_ORIGIN


def test_compose_accepts_the_file():
    command = compose()
    if command is None:
        pytest.skip("docker compose is not installed")
    environment = {**os.environ, "MLDB_TOKEN": "from-the-environment"}
    shown = subprocess.run([*command, "config"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert yaml.safe_load(shown.stdout)["services"]["mldb"]["environment"]["MLDB_TOKEN"] == "from-the-environment"


def test_compose_refuses_to_start_without_a_token():
    command = compose()
    if command is None:
        pytest.skip("docker compose is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "MLDB_TOKEN"}
    shown = subprocess.run([*command, "config"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert shown.returncode != 0
    assert "MLDB_TOKEN" in shown.stderr


def compose() -> list[str] | None:
    if docker := shutil.which("docker"):
        asked = subprocess.run([docker, "compose", "version"], capture_output=True)
        if asked.returncode == 0:
            return [docker, "compose"]
    classic = shutil.which("docker-compose")
    return [classic] if classic else None
