"""Plugins under supervision: routes, namespaces, reentrancy, and what happens when their code misbehaves."""

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from runtime import protocol
from runtime.crashes import Crashes
from runtime.generation import RequestFailed
from runtime.starting import MainFailed
from tests.runtime.harness import get, host, plugin
from tests.waiting import PATIENCE, SOON, until_async


def with_plugin(tmp_path, main, routes, work, **limits):
    async def run():
        async with host() as there, plugin(there, tmp_path, main, routes, **limits) as supervisor:
            return await work(supervisor, there)

    return asyncio.run(run())


def answers(tmp_path, main, routes, *requests, **limits):
    async def work(supervisor, _there):
        return [await supervisor.request(request) for request in requests]

    return with_plugin(tmp_path, main, routes, work, **limits)


# ── what routes.py sees ──


def test_request_members(tmp_path):
    routes = """
r = mldb.plugin.rest_params
assert r is request
mldb.plugin.set_return([r.verb, r.remaining, r.resource, r.rest_params, r.rest_params[0][1], r.payload,
    r.content_type, r.contentType, r.content_length, r.contentLength, r.headers], 201)
"""
    request = get(
        "/a%20b", verb="PUT", params=[("k", "v")], body="é".encode(), headers={"x": "y"}, content_type="t",
        content_length=2,
    )  # fmt: skip
    (answer,) = answers(tmp_path, "", routes, request)
    path = "/v1/plugins/p/routes/a%20b"
    assert answer.code == 201
    assert json.loads(answer.body) == ["PUT", "/a%20b", path, [["k", "v"]], "v", "é", "t", "t", 2, 2, {"x": "y"}]


def test_main_globals_are_read_but_assignments_do_not_persist(tmp_path):
    routes = """
def f(): return g()
def g(): return counter
counter += 1
request.set_return(f())
"""
    first, second = answers(tmp_path, "counter = 1", routes, get(), get())
    assert (first.body, second.body) == (b"2", b"2")


def test_raw_mldb_is_there_anew_after_wrapping(tmp_path):
    wrapping = "mldb = mldb_wrapper.wrap(mldb)\n"
    routes = wrapping + "mldb.plugin.set_return(mldb.get('/v1/x').status_code)"
    (answer,) = answers(tmp_path, wrapping, routes, get())
    assert answer.body == b"200"


@pytest.mark.parametrize(
    ("main", "routes", "kind"),
    [
        ("", "x = 1", protocol.UNROUTED),
        ("", "mldb.plugin.set_return(None)", protocol.UNROUTED),
        ("", "mldb.plugin.set_return({})", protocol.RETURNED),
        ("", "request.verb", protocol.UNSET),
        ("", "request.set_return(None)", protocol.RETURNED),
        ("", "from mldb import mldb", protocol.UNSET),
        ("from mldb import mldb", "mldb.log('x')", protocol.UNSET),
        ("", "request = mldb.plugin.rest_params\nrequest.verb", protocol.UNROUTED),
        ("", "request.set_return('', 0)", protocol.UNSET),
        ("", "raise ValueError('no')", protocol.RAISED),
        ("", "from mldb import HTTPException\nraise HTTPException(404)", protocol.RETURNED),
        ("", "from mldb import HTTPException\nraise HTTPException(200)", protocol.RAISED),
        ("", "from mldb import HTTPException\nraise HTTPException(400, x={1})", protocol.RAISED),
    ],
)
def test_outcomes(tmp_path, main, routes, kind):
    (answer,) = answers(tmp_path, main, routes, get())
    assert answer.kind == kind


def test_routes_end_with_an_error_of_their_own(tmp_path):
    routes = """
from mldb import HTTPException
def known(name):
    raise HTTPException(404, f"no {name}", nearest="tee")
request.set_return(known("Käse"))
"""

    async def work(supervisor, there):
        answer = await supervisor.request(get())
        return answer, there.lines

    answer, lines = with_plugin(tmp_path, "", routes, work)
    body = {"error": "no Käse", "httpCode": 404, "nearest": "tee"}
    assert (answer.kind, answer.code, json.loads(answer.body), lines) == (protocol.RETURNED, 404, body, [])


def test_an_error_for_callers_ends_main_as_any_other(tmp_path):
    async def run():
        async with host() as there:
            with pytest.raises(MainFailed):
                async with plugin(there, tmp_path, "from mldb import HTTPException\nraise HTTPException(404)"):
                    pass
            return there.lines

    (line,) = asyncio.run(run())
    assert line.text.endswith("HTTPException: Not Found")


def test_routes_are_read_on_every_request(tmp_path):
    async def work(supervisor, _there):
        bodies = []
        for number in range(3):
            (tmp_path / "routes.py").write_text(f"request.set_return({number})")
            bodies.append((await supervisor.request(get())).body)
        (tmp_path / "routes.py").unlink()
        gone = await supervisor.request(get())
        return bodies, gone, supervisor.generation.number

    bodies, gone, number = with_plugin(tmp_path, "", "request.set_return('first')", work)
    assert bodies == [b"0", b"1", b"2"]
    assert gone.kind == protocol.UNROUTED
    assert number == 1


def test_modules_of_the_folder_are_imported(tmp_path):
    (tmp_path / "mylib.py").write_text("from mldb import mldb\ndef where(): return mldb.plugin.get_plugin_dir()")
    (answer,) = answers(tmp_path, "import mylib", "import mylib\nrequest.set_return(mylib.where())", get())
    assert json.loads(answer.body) == str(tmp_path)


HELPING = "import helper\nrequest.set_return(helper.V)"


def test_a_module_that_routes_import_and_that_is_broken_keeps_the_last_good_version(tmp_path):
    helper = tmp_path / "helper.py"
    helper.write_text("V = 1")

    async def work(supervisor, _there):
        async def served():
            return (await supervisor.request(get())).body

        seen = [await served()]
        for text in ("V =", "V = nothing", "import nowhere\nV = 1", "V = 2"):
            helper.write_text(text)
            seen += [await supervisor.reload(), await served(), supervisor.failure]
        helper.unlink()  # and with it what uses it
        (tmp_path / "routes.py").write_text("request.set_return(3)")
        return [*seen, await supervisor.reload(), await served()]

    first, *rest = with_plugin(tmp_path, "", HELPING, work)
    assert first == b"1"
    for number, error in enumerate(("SyntaxError: ", "NameError: ", "ModuleNotFoundError: ")):
        reloaded, body, failure = rest[3 * number : 3 * number + 3]
        assert (reloaded, body) == (False, b"1")
        assert failure.message.startswith(error)
        assert (failure.file, failure.line) == (str(helper), 1)
    assert rest[9:] == [True, b"2", None, True, b"3"]


def test_what_is_saved_twice_within_a_second_is_not_mistaken(tmp_path, monkeypatch):
    """Compiled modules are known by the second and the size of their sources."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    helper = tmp_path / "helper.py"

    def save(text):
        helper.write_text(text)
        os.utime(helper, (1_000_000_000, 1_000_000_000))

    save("V = 1")

    async def work(supervisor, _there):
        before = (await supervisor.request(get())).body
        save("V = 2")
        await supervisor.reload()
        return before, (await supervisor.request(get())).body

    assert with_plugin(tmp_path, "import helper", HELPING, work) == (b"1", b"2")


def test_the_names_of_the_hosts_modules_are_free(tmp_path):
    (tmp_path / "runtime.py").write_text("V = 1")
    (answer,) = answers(tmp_path, "import runtime", "import runtime\nrequest.set_return(runtime.V)", get())
    assert answer.body == b"1"


def test_children_write_where_the_plugin_prints(tmp_path):
    routes = """
import faulthandler, subprocess, sys
subprocess.run(["echo", "from a child"], stdout=sys.stdout, stderr=sys.stderr, check=True)
faulthandler.enable()
request.set_return(1)
"""

    async def work(supervisor, there):
        answer = await supervisor.request(get())
        await until_async(lambda: "from a child" in there.logged())
        return answer.body

    assert with_plugin(tmp_path, "", routes, work) == b"1"


def test_prints_are_in_the_output_but_logs_are_not(tmp_path):
    (answer,) = answers(tmp_path, "", "mldb.log('l')\nprint('p')\nrequest.set_return(1)", get())
    assert answer.output().ordered().startswith(b'{"result":1,"logs":[{"ts":"')
    assert [entry["c"] for entry in answer.output().plain()["logs"]] == ["p"]


def test_a_route_calls_its_own_plugin_deeply_and_in_parallel(tmp_path):
    routes = """
depth = int(request.remaining[1:])
if depth:
    r = mldb.perform("GET", "/v1/plugins/p/routes/%d" % (depth - 1))
    request.set_return(int(r["response"]) + 1)
else:
    request.set_return(0)
"""

    async def work(supervisor, _there):
        deep = await asyncio.gather(*(supervisor.request(get(f"/{depth}")) for depth in (20, 20, 20, 20)))
        return [answer.body for answer in deep]

    assert with_plugin(tmp_path, "", routes, work) == [b"20"] * 4


def test_blocked_requests_do_not_hold_up_others(tmp_path):
    routes = f"""
import time
from pathlib import Path
folder = Path({str(tmp_path)!r})
if request.remaining != "/quick":
    (folder / f"begun{{request.remaining[1:]}}").touch()
    while not (folder / "over").exists():
        time.sleep(0.02)
request.set_return(1)
"""

    async def work(supervisor, _there):
        slow = [asyncio.ensure_future(supervisor.request(get(f"/{number}"))) for number in range(20)]
        await until_async(lambda: len(list(tmp_path.glob("begun*"))) == 20)
        await supervisor.request(get("/quick"))
        done = [request.done() for request in slow]
        (tmp_path / "over").touch()
        return done, [answer.body for answer in await asyncio.gather(*slow)]

    assert with_plugin(tmp_path, "", routes, work) == ([False] * 20, [b"1"] * 20)


def test_more_blocked_requests_than_threads_can_be_had_for(tmp_path):
    routes = "import time\nif request.remaining == '/slow': time.sleep(1)\nrequest.set_return(1)"

    async def work(supervisor, _there):
        answers = await asyncio.gather(*(supervisor.request(get("/slow")) for _ in range(300)))
        return [answer.body for answer in answers], supervisor.status()

    # Stacks for some fifty threads.
    assert with_plugin(tmp_path, "", routes, work, memory=160 * 2**20) == ([b"1"] * 300, None)


@pytest.mark.parametrize("code", [1, 100, 199, 600, 2**70])
def test_a_return_code_that_is_no_status_is_told_where_it_stands(tmp_path, code):
    (answer,) = answers(tmp_path, "", f"request.set_return('x', {code})", get())
    assert answer.kind == protocol.RAISED
    assert answer.exception["message"] == f"the return code is an HTTP status from 200 to 599, not {code}"
    assert answer.exception["lineNumber"] == 1


@pytest.mark.parametrize("code", [0, -1, -(2**70)])
def test_a_return_code_of_nothing_is_no_return(tmp_path, code):
    (answer,) = answers(tmp_path, "", f"request.set_return('x', {code})", get())
    assert answer.kind == protocol.UNSET


def test_what_routes_raise_is_in_the_log_with_its_cause(tmp_path):
    routes = """
def inner():
    mldb.create_dataset(3)
try:
    inner()
except TypeError as error:
    raise ValueError("outer") from error
"""

    async def work(supervisor, there):
        await supervisor.request(get("/a"))
        return [line for line in there.lines if line.stream == "error"]

    (line,) = with_plugin(tmp_path, "", routes, work)
    assert line.text.startswith("GET /v1/plugins/p/routes/a: Traceback (most recent call last):")
    assert "mldb.create_dataset(3)" in line.text
    assert "the configuration of a dataset is a dict" in line.text
    assert line.text.endswith("ValueError: outer")
    assert "shim.py" not in line.text


def test_what_main_raises_is_in_the_log(tmp_path):
    async def run():
        async with host() as there:
            with pytest.raises(MainFailed):
                async with plugin(there, tmp_path, "1 / 0"):
                    pass
            return there.lines

    (line,) = asyncio.run(run())
    assert line.stream == "error"
    assert line.text.endswith("ZeroDivisionError: division by zero")


def test_a_recursion_in_the_host_is_told_by_the_line_that_led_there(tmp_path):
    routes = "nested = []\nfor _ in range(100_000):\n    nested = [nested]\nrequest.set_return(nested)"
    (answer,) = answers(tmp_path, "", routes, get())
    assert answer.exception["type"] == "RecursionError"
    assert answer.exception["lineNumber"] == 4


def test_an_exception_as_large_as_a_file_is_cut(tmp_path):
    (answer,) = answers(tmp_path, "", "raise ValueError('x' * 300_000_000)", get())
    assert answer.exception["message"].endswith("… (300000000 characters)")
    assert answer.exception["lineNumber"] == 1


def test_a_child_that_writes_without_end_does_not_hold_up_the_host(tmp_path):
    main = "import subprocess\nsubprocess.Popen(['yes'])"

    async def work(_supervisor, there):
        longest, turns = 0.0, 0
        while turns < 100 or there.logged().count("y") <= 100:
            begun = time.thread_time()  # of the loop's thread: the machine may have others to run
            await asyncio.sleep(0.01)
            longest = max(longest, time.thread_time() - begun)
            turns += 1
        return longest, there.logged()

    longest, logged = with_plugin(tmp_path, main, None, work)
    assert longest < 0.5
    assert 100 < logged.count("y") < 20_000
    assert any("lines were dropped" in text for text in logged)


# ── main.py that fails ──


@pytest.mark.parametrize(
    ("main", "code"),
    [
        ("import os; os.abort()", 502),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 502),
        ("while True: pass", 504),
        ("import time; time.sleep(600)", 504),
        ("x = [0] * 500_000_000", 503),
        ("import os; os._exit(0)", 502),
        ("import ctypes; ctypes.string_at(0)", 502),
    ],
)
def test_main_that_kills_or_hangs_its_worker(tmp_path, main, code):
    async def run():
        async with host() as there:
            with pytest.raises(RequestFailed) as caught:
                # One that dies may take its time to, on a busy machine.
                async with plugin(
                    there, tmp_path, main, start_seconds=1.0 if code == 504 else PATIENCE, memory=512 * 2**20
                ):
                    raise AssertionError("it started")
            fine = await there.script("request.set_return(1)")
            return caught.value.code, fine.body

    assert asyncio.run(run()) == (code, b"1")


@pytest.mark.parametrize("main", ["1/0", "import sys; sys.exit(2)", "import not_there", "def broken("])
def test_main_that_raises(tmp_path, main):
    async def run():
        async with host() as there:
            with pytest.raises(MainFailed) as caught:
                async with plugin(there, tmp_path, "print('before')\n" + main):
                    raise AssertionError("it started")
            return caught.value.answer

    exception = asyncio.run(run()).exception
    assert exception["lineNumber"] == 2


def test_blocked_import_in_main_is_ended(tmp_path):
    (tmp_path / "stuck.py").write_text("import time\ntime.sleep(600)")
    test_main_that_kills_or_hangs_its_worker(tmp_path, "import stuck", 504)


@pytest.mark.parametrize(
    "main",
    [
        "import os; os.close(0); os.close(1); os.close(2)",
        "import sys; sys.stdout.close(); sys.stderr.close(); sys.stdin = None",
        "import os\nif os.fork() == 0: os._exit(0)",
        "import os\nos.fork()",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); import os; os.chdir('/')",
        "import subprocess; subprocess.Popen(['sleep', '60'])",
        "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: assert p.map(abs, [-1, -2]) == [1, 2]",
    ],
)
def test_main_that_is_odd_but_lives(tmp_path, main):
    first, second = answers(tmp_path, main, "print('x')\nrequest.set_return(1)", get(), get())
    assert (first.body, second.body) == (b"1", b"1")
    assert first.output().plain()["logs"][0]["c"] == "x"


def test_children_of_a_plugin_end_by_signals(tmp_path):
    """A pool ends its processes by SIGTERM: it ends them, and nobody else."""
    main = """
import os, signal, time
child = os.fork()
if child == 0:
    time.sleep(600)
    os._exit(0)
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
"""
    routes = "import os\nrequest.set_return(os.getpid())"

    async def run():
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        async with host() as there, plugin(there, tmp_path / "one", "", routes) as one:
            before = await one.request(get())
            async with plugin(there, tmp_path / "two", main, routes) as two:
                assert (await two.request(get())).kind == protocol.RETURNED
            return before.body, (await one.request(get())).body

    before, after = asyncio.run(run())
    assert before == after


# ── routes.py that fails ──

ROUTES = """
import os, signal, sys, time
what = request.remaining
if what == "/abort": os.abort()
if what == "/kill": os.kill(os.getpid(), signal.SIGKILL)
if what == "/exit": os._exit(0)
if what == "/spin":
    while True: pass
if what == "/sleep": time.sleep(600)
if what == "/memory": hold = [0] * 500_000_000
if what == "/import": import stuck
if what == "/close": os.close(3)
if what == "/sysexit": sys.exit(1)
if what == "/fd1": os.close(1); os.close(2); print("still captured")
if what == "/fork": os.fork()
request.set_return("fine")
"""


@pytest.mark.parametrize(
    ("what", "codes"),
    [
        ("/abort", {502}),
        ("/kill", {502}),
        ("/exit", {502}),
        ("/spin", {504}),
        ("/sleep", {504}),
        ("/memory", {503}),
        ("/import", {504}),
        ("/close", {502}),
    ],
)
def test_route_that_kills_or_hangs_its_worker(tmp_path, what, codes):
    (tmp_path / "stuck.py").write_text("import time\ntime.sleep(600)")

    async def work(supervisor, _there):
        begun = time.monotonic()
        with pytest.raises(RequestFailed) as caught:
            await supervisor.request(get(what))
        failed_after = time.monotonic() - begun
        begun = time.monotonic()
        answer = await supervisor.request(get("/ok"))
        return caught.value.code, failed_after, answer.body, time.monotonic() - begun, supervisor.status()

    # One that dies may take its time to, on a busy machine.
    patience = 1.0 if codes == {504} else PATIENCE
    code, failed_after, body, back_after, status = with_plugin(
        tmp_path, "", ROUTES, work, request_seconds=patience, memory=512 * 2**20
    )
    assert code in codes
    assert failed_after < SOON
    assert body == b'"fine"'
    assert back_after < SOON
    assert status["restarts"] == 1
    assert status["lastFailure"]["message"].startswith("the worker ")


@pytest.mark.parametrize("what", ["/sysexit", "/fd1", "/fork"])
def test_route_that_is_odd_but_answers(tmp_path, what):
    first, second = answers(tmp_path, "", ROUTES, get(what), get("/ok"))
    assert first.kind == (protocol.RAISED if what == "/sysexit" else protocol.RETURNED)
    assert second.body == b'"fine"'


def test_requests_in_flight_are_told_when_the_worker_dies(tmp_path):
    routes = f"""
import time
from pathlib import Path
if request.remaining != "/ok":
    Path({str(tmp_path)!r}, f"begun{{request.remaining[1:]}}").touch()
    time.sleep(600)
request.set_return("fine")
"""

    async def work(supervisor, _there):
        sleeping = [asyncio.ensure_future(supervisor.request(get(f"/{number}"))) for number in range(3)]
        await until_async(lambda: len(list(tmp_path.glob("begun*"))) == 3)
        os.kill(supervisor.generation.worker.pid, signal.SIGKILL)
        results = await asyncio.gather(*sleeping, return_exceptions=True)
        return [result.code for result in results], (await supervisor.request(get("/ok"))).body

    assert with_plugin(tmp_path, "", routes, work) == ([502] * 3, b'"fine"')


def test_a_hung_request_does_not_take_the_others_with_it(tmp_path):
    routes = f"""
import time
from pathlib import Path
folder = Path({str(tmp_path)!r})
(folder / f"begun{{request.remaining[1:]}}").touch()
while request.remaining == "/hung" or not (folder / "over").exists():
    time.sleep(0.02)
request.set_return("done")
"""

    async def work(supervisor, _there):
        hung = asyncio.ensure_future(supervisor.request(get("/hung")))
        await asyncio.sleep(3)
        worker = supervisor.generation.worker.pid
        other = asyncio.ensure_future(supervisor.request(get("/other")))
        await until_async(lambda: (tmp_path / "begunother").exists())
        with pytest.raises(RequestFailed) as caught:
            await hung
        assert not other.done()
        (tmp_path / "over").touch()
        body = (await other).body
        await until_async(lambda: supervisor.generation is not None and supervisor.generation.worker.pid != worker)
        await until_async(lambda: not Path(f"/proc/{worker}").exists())
        return body, caught.value.code

    assert with_plugin(tmp_path, "", routes, work, request_seconds=5) == (b'"done"', 504)


def test_a_crash_loop_backs_off_and_shows(tmp_path):
    main = f"import os\nif os.path.exists('{tmp_path}/armed'): os.abort()"

    async def work(supervisor, _there):
        (tmp_path / "armed").touch()
        os.kill(supervisor.generation.worker.pid, signal.SIGKILL)
        await until_async(lambda: (supervisor.status() or {}).get("state") == "backing off")
        status = supervisor.status()
        with pytest.raises(RequestFailed) as caught:
            await supervisor.request(get("/ok"))
        (tmp_path / "armed").unlink()
        assert await supervisor.reload()
        return status, caught.value.code, (await supervisor.request(get("/ok"))).body

    status, code, body = with_plugin(tmp_path, main, ROUTES, work)
    assert "nextAttempt" in status
    assert "SIGABRT" in status["lastFailure"]["message"]
    assert (code, body) == (503, b'"fine"')


@pytest.mark.parametrize(("seconds", "answer"), [(0.0, 503), (30.0, b'"fine"')])
def test_how_long_a_request_waits_for_a_restart(tmp_path, seconds, answer):
    main = f"import os, time\nwhile os.path.exists('{tmp_path}/armed'): time.sleep(0.01)"

    async def work(supervisor, _there):
        (tmp_path / "armed").touch()
        os.kill(supervisor.generation.worker.pid, signal.SIGKILL)
        await until_async(lambda: supervisor.generation is None)
        request = asyncio.create_task(supervisor.request(get("/ok")))
        if seconds:
            assert not (await asyncio.wait({request}, timeout=0.2))[0]
        else:
            await asyncio.wait({request})
        (tmp_path / "armed").unlink()
        try:
            return (await request).body
        except RequestFailed as error:
            return error.code

    assert with_plugin(tmp_path, main, ROUTES, work, restart_seconds=seconds) == answer


def test_an_edit_does_not_start_what_is_stopped_at_that_moment(tmp_path):
    async def work(supervisor, _there):
        stopping, edited = asyncio.create_task(supervisor.hold()), supervisor.reload(if_held=False)
        await asyncio.sleep(0)
        assert not await edited
        await stopping
        assert (supervisor.held, supervisor.generation) == (True, None)
        assert await supervisor.reload()
        return (await supervisor.request(get("/ok"))).body

    assert with_plugin(tmp_path, "", ROUTES, work) == b'"fine"'


def test_requests_wait_for_a_restart_though_the_clock_is_set_back(tmp_path, monkeypatch):
    async def work(supervisor, _there):
        for _ in range(3):
            supervisor._crashes.note()
        os.kill(supervisor.generation.worker.pid, signal.SIGKILL)
        await until_async(lambda: supervisor.generation is None)
        await asyncio.sleep(0)
        past = time.time() - 3600
        monkeypatch.setattr(time, "time", lambda: past)
        return (await supervisor.request(get("/ok"))).body

    assert with_plugin(tmp_path, "", ROUTES, work) == b'"fine"'


def test_other_plugins_do_not_notice(tmp_path):
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()

    async def run():
        async with (
            host() as there,
            plugin(there, tmp_path / "bad", "", ROUTES, request_seconds=3) as bad,
            plugin(there, tmp_path / "good", "", ROUTES) as good,
        ):

            async def hurt():
                with pytest.raises(RequestFailed) as died:
                    await bad.request(get("/abort"))
                with pytest.raises(RequestFailed) as hung:  # which takes as long as a request may
                    await bad.request(get("/spin"))
                await bad.request(get("/fork"))
                return died.value.code, hung.value.code

            hurting = asyncio.ensure_future(hurt())
            answered = 0
            while not hurting.done():
                assert (await good.request(get("/ok"))).body == b'"fine"'
                answered += 1
                await asyncio.sleep(0.02)
            return answered, await hurting

    answered, codes = asyncio.run(run())
    assert codes == (502, 504)
    assert answered > 10


# ── what is left behind ──


MARK = f"12345.{os.getpid()}"  # seconds of sleep, known from those of other runs of the tests


def processes():
    """Command lines of our fork servers, workers and of sleeps that test plugins start."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if MARK in (entry / "cmdline").read_text():
                    found.append(entry.name)
    return found


def test_nothing_survives_a_worker(tmp_path):
    main = f"""
import os, subprocess
subprocess.Popen(["sleep", "{MARK}"])
subprocess.Popen(["sleep", "{MARK}"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{MARK}"])
    os._exit(0)
"""

    async def work(supervisor, _there):
        await until_async(lambda: len(processes()) == 3)
        os.kill(supervisor.generation.worker.pid, signal.SIGKILL)
        (tmp_path / "main.py").write_text("")
        await until_async(lambda: not processes())

    with_plugin(tmp_path, main, ROUTES, work)
    assert not processes()


def test_cycles_leak_nothing(tmp_path):
    async def work(supervisor, there):
        async def cycle():
            assert await supervisor.reload()
            assert (await supervisor.request(get("/ok"))).body == b'"fine"'
            await there.script("print(1)")
            with pytest.raises(RequestFailed):
                await supervisor.request(get("/abort"))
            supervisor._crashes = Crashes()

        def counted():
            return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))

        for _ in range(3):
            await cycle()
        await asyncio.sleep(0.5)
        files, threads = counted()
        for _ in range(10):
            await cycle()

        def as_few():
            now = counted()
            return now[0] <= files + 2 and now[1] <= threads + 1

        await until_async(as_few)

    with_plugin(tmp_path, "", ROUTES, work)
