from __future__ import annotations

import logging
import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from server.errors import MldbError
from server.sql.functions import jseval, scripts
from server.sql.functions.jseval import UNDEFINED, JsFunction
from server.values.atoms import Timestamp
from server.values.batches import Cell
from tests.conftest import Client
from tests.waiting import PATIENCE, until


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("return 1", 1),
        ("return 2.5", 2.5),
        ("return 'é'", "é"),
        ("return null", None),
        ("return true", 1),
        ("return new Date(1500)", Timestamp(1.5)),
        ("return -1/0", -math.inf),
        ("return {x: 1, y: {z: 'a'}}", [Cell(("x",), 1), Cell(("y", "z"), "a")]),
        ("return [7, 8]", [Cell(("0",), 7), Cell(("1",), 8)]),
        ("", UNDEFINED),
    ],
)
def test_results(code: str, result: object) -> None:
    assert JsFunction(code, "").call([[]]) == [result]


def test_arguments() -> None:
    function = JsFunction("return [a, row['x y'].z, when.getTime(), list[1], n, row.__proto__]", "a, row,when,list,n")
    row = {"x y": {"z": "deep"}, "__proto__": "name"}
    (cells,) = function.call([[3, row, Timestamp(2.0), [5, 6], math.inf]])
    assert isinstance(cells, list)
    assert [cell.value for cell in cells] == [3, "deep", 2000, 6, math.inf, "name"]


def test_what_is_no_date_stays_no_date() -> None:
    (result,) = JsFunction("return t", "t").call([[Timestamp(math.nan)]])
    assert isinstance(result, Timestamp)
    assert math.isnan(result.seconds)


def test_scripts_in_queries_may_be_long(client: Client) -> None:
    code = f"/* {'x' * 5000} */ return a + 1"
    assert client.query(f"SELECT jseval('{code}', 'a', n) AS v FROM (SELECT 1 AS n)")[1][1] == 2


def test_many_rows_in_one_call() -> None:
    assert JsFunction("return a * 2", "a").call([[n] for n in range(2000)]) == [2 * n for n in range(2000)]


@pytest.mark.parametrize("code", ["return (", "return 1 }}}", "}); })(mldb); (function(){ while(1){}"])
def test_compile_errors(code: str) -> None:
    with pytest.raises(MldbError, match="Exception compiling jseval script"):
        JsFunction(code, "a")


def test_argument_names_are_checked() -> None:
    with pytest.raises(MldbError, match="Exception compiling"):
        JsFunction("return 1", "a){}, b")


@pytest.mark.parametrize("code", ['throw "this query is weird";', "throw new Error('this query is weird')"])
def test_exceptions(code: str) -> None:
    with pytest.raises(MldbError, match=r"jseval script threw exception: .*this query is weird"):
        JsFunction(code, "").call([[]])


def test_functions_are_no_values() -> None:
    with pytest.raises(MldbError, match="Don't understand expression"):
        JsFunction("return function () {}", "").call([[]])


def test_endless_loops_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jseval, "TIME_LIMIT", 0.3)
    function = JsFunction("if (a) while (true) {} return 1", "a")
    with pytest.raises(MldbError, match=r"ran for more than 0.3 s"):
        function.call([[1]])
    monkeypatch.setattr(jseval, "TIME_LIMIT", PATIENCE)
    assert function.call([[0]]) == [1]


def test_memory_is_limited() -> None:
    function = JsFunction("let a = []; while (true) a.push(new Array(100000).fill(7))", "")
    with pytest.raises(MldbError, match="needs more than 256 MiB of memory"):
        function.call([[]])


def test_log_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mldb.jseval"):
        JsFunction("mldb.log('seen', a)", "a").call([[1], [2]])
    assert caplog.messages == ["seen 1", "seen 2"]


def test_called_from_another_thread() -> None:
    function = JsFunction("return a + 1", "a")
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.extend(function.call([[1]])))
    thread.start()
    thread.join()
    assert results == [2]


def test_arity() -> None:
    (builtin,) = scripts.BUILTINS
    builtin.check(2)
    with pytest.raises(MldbError, match="jseval expected at least 2 arguments, got 1"):
        builtin.check(1)


def test_threads_that_begin_at_once_share_one_loop(monkeypatch):
    monkeypatch.setattr(jseval, "_started_loop", cache(jseval._started_loop.__wrapped__))
    barrier = threading.Barrier(16)

    def begin(_):
        barrier.wait()
        return jseval._loop()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as threads:
            (loop,) = set(threads.map(begin, range(16)))
    finally:
        sys.setswitchinterval(interval)
    loop.call_soon_threadsafe(loop.stop)
    until(lambda: not loop.is_running())
    loop.close()
