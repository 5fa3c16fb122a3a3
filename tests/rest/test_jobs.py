"""Job processes: results, errors, progress, death, cancel."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest

from server.entities.jobs import Jobs
from server.entities.progress import TaskProgress
from server.errors import Cancelled, MldbError
from tests.conftest import ROOT
from tests.waiting import PATIENCE, SOON, until


def double(arguments, report):
    report("working", "percentile", 0.5)
    return {"twice": arguments["value"] * 2, "pid": os.getpid(), "blob": b"\x00"}


def refuse(arguments, report):
    raise MldbError("no", code=404, details={"a": 1})


def stumble(arguments, report):
    raise KeyError("k")


def die(arguments, report):
    os.abort()


def hang(arguments, report):
    report("hanging", "counter", 1)
    time.sleep(120)


def devour(arguments, report):
    return len(bytearray(2**31))


@pytest.fixture(scope="module")
def jobs():
    jobs = Jobs()
    yield jobs
    jobs.close()


def test_a_fork_server_that_is_killed_while_it_is_asked(jobs):
    """As by a system that wants memory: another one is started."""
    jobs.run("tests.rest.test_jobs:double", {"value": 1}, TaskProgress())
    server = psutil.Process(forkserver._forkserver._forkserver_pid)
    server.suspend()
    found = []
    asking = threading.Thread(
        target=lambda: found.append(jobs.run("tests.rest.test_jobs:double", {"value": 2}, TaskProgress()))
    )
    asking.start()
    until(lambda: any("read_signed" in line for line in stack_of(asking)))
    server.kill()
    asking.join(PATIENCE)
    assert [each["twice"] for each in found] == [4]


def stack_of(thread):
    frame = sys._current_frames().get(thread.ident)
    return traceback.format_stack(frame) if frame else []


def test_result_and_progress(jobs):
    progress = TaskProgress()
    result = jobs.run("tests.rest.test_jobs:double", {"value": 21}, progress)
    assert (result["twice"], result["blob"]) == (42, b"\x00")
    assert result["pid"] != os.getpid()
    assert progress.to_json()["steps"][0]["name"] == "working"


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [("refuse", 404, "^no$"), ("stumble", 500, "KeyError"), ("die", 500, "died"), ("nothing", 500, "AttributeError")],
)
def test_failures(jobs, target, code, text, capfd):
    with pytest.raises(MldbError, match=text) as caught:
        jobs.run(f"tests.rest.test_jobs:{target}", {}, TaskProgress())
    assert caught.value.code == code


def test_cancel_kills_the_process(jobs):
    progress = TaskProgress()
    threading.Timer(0.5, progress.cancel).start()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        jobs.run("tests.rest.test_jobs:hang", {}, progress)
    assert time.monotonic() - begun < SOON


def test_memory_is_limited():
    jobs = Jobs(memory=512)
    with pytest.raises(MldbError, match="out of memory"):
        jobs.run("tests.rest.test_jobs:devour", {}, TaskProgress())
    jobs.close()


def sit(arguments, report):
    """Says nothing for long, as many a library does."""
    Path(arguments["mark"]).write_text(str(os.getpid()))
    time.sleep(60)


HOST = """
import sys
from server.entities.jobs import Jobs
from server.entities.progress import TaskProgress
if __name__ == "__main__":
    print(Jobs().run(sys.argv[1], {"mark": sys.argv[2], "value": 1}, TaskProgress()), flush=True)
"""


@contextmanager
def host(target, mark, folder):
    """A process that runs a job, started in a folder."""
    program = mark.with_suffix(".host.py")
    program.write_text(HOST)
    command = [sys.executable, str(program), f"tests.rest.test_jobs:{target}", str(mark)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_job_ends_with_a_host_that_is_killed(tmp_path):
    mark = tmp_path / "mark"
    with host("sit", mark, tmp_path) as process:
        until(lambda: mark.exists() and mark.read_text())
        job = Path(f"/proc/{mark.read_text()}")
        parent = Path("/proc", job.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        process.kill()
        until(lambda: not job.exists() and not parent.exists())
        assert b"Traceback" not in process.stderr.read()


def test_nothing_is_imported_from_the_working_directory(tmp_path):
    """Who runs a server in a folder of data does not mean the files there to be run."""
    folder = tmp_path / "data"
    folder.mkdir()
    for module in ("server", "random", "msgpack", "multiprocessing"):
        (folder / f"{module}.py").write_text("raise SystemExit(f'{__file__} was run')")
    with host("double", tmp_path / "mark", folder) as process:
        said = process.communicate(timeout=PATIENCE)
    assert b"'twice': 2" in said[0], said[1].decode()
