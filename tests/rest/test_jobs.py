"""Job processes: results, errors, progress, death, cancel."""

from __future__ import annotations

import os
import threading
import time

import pytest

from server.entities.jobs import Jobs
from server.entities.progress import TaskProgress
from server.errors import Cancelled, MldbError


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
    time.sleep(60)


def devour(arguments, report):
    return len(bytearray(2**31))


@pytest.fixture(scope="module")
def jobs():
    jobs = Jobs()
    yield jobs
    jobs.close()


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
    assert time.monotonic() - begun < 10


def test_memory_is_limited():
    jobs = Jobs(memory=512)
    with pytest.raises(MldbError, match="out of memory"):
        jobs.run("tests.rest.test_jobs:devour", {}, TaskProgress())
    jobs.close()
