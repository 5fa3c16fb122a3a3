"""Scripts: what they see, what they return, how they fail."""

import asyncio
import json

import pytest

from runtime import protocol
from runtime.generation import RequestFailed
from tests.runtime.harness import host


def run(source, args=None, **limits):
    async def main():
        async with host() as there:
            answer = await there.script(source, args, **limits)
            return answer, there

    return asyncio.run(main())


def logs(answer):
    return [(entry["s"], entry.get("c")) for entry in answer.output().plain().get("logs", [])]


def result(source, args=None):
    answer, _ = run(source, args)
    assert answer.kind == protocol.RETURNED, answer
    return json.loads(answer.body)


def test_result_and_prints():
    answer, there = run("print('hi')\nrequest.set_return({'b': 2.0, 'a': [1]})")
    assert answer.kind == protocol.RETURNED
    assert answer.body == b'{"a":[1],"b":2.0}'
    assert logs(answer) == [("stdout", "hi")]
    assert there.logged() == ["hi"]


def test_capture_rules():
    source = """
import sys
print("a\\nb")
print()
print("part", end="")
mldb.log("between")
print(" whole")
sys.stderr.write("tail without newline")
sys.stdout.buffer.write(b"\\xffok\\n")
mldb.log()
"""
    answer, _ = run(source)
    entries = [(entry[1], entry[2]) for entry in answer.logs]
    assert ("stdout", "a\nb") in entries
    assert ("stdout", "part whole") in entries
    assert ("stderr", "tail without newline") in entries
    assert ("stdout", [255, "ok"]) in entries
    assert ("log", None) in entries
    assert not [content for _, content in entries if content == ""]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("None", "null"),
        ("True", "true"),
        ("2.0", "2.0"),
        ("0.1", "0.1"),
        ("1e20", "1.000000000000000e+20"),
        ("float('nan')", "null"),
        ("'audi'", '"audi"'),
        ("'é/\\n'", '"é/\\n"'),
        ("(1, [2])", "[1,[2]]"),
        ("{'b': 1, 'a': {2: 3}}", '{"a":{"2":3},"b":1}'),
        ("2**63", "9223372036854775808"),
    ],
)
def test_encoding_of_returns(value, text):
    answer, _ = run(f"request.set_return({value})")
    assert answer.body.decode() == text


@pytest.mark.parametrize("value", ["b'x'", "{1}", "object()", "2**70", "__import__('datetime').datetime.now()"])
def test_values_without_json_form_are_type_errors(value):
    answer, _ = run(f"request.set_return({value})")
    assert answer.exception["type"] == "TypeError"


def test_exception_object():
    answer, _ = run("x = 1\ny = 2\nprint(datetime)\n")
    exception = answer.exception
    assert exception["message"] == "name 'datetime' is not defined"
    assert exception["lineNumber"] == 3
    assert exception["type"] == "NameError"
    assert exception["context"] == ["Running python script", "Executing Python script"]
    assert [frame["where"] for frame in exception["stack"]] == ['File "/main.py", line 3, in <module>']


def test_syntax_error():
    answer, _ = run("print(1)\n\nthis will not compile\n")
    assert answer.exception["type"] == "SyntaxError"
    assert answer.exception["lineNumber"] == 3
    assert answer.exception["lineContents"] == "this will not compile\n"
    assert "where" not in answer.exception


def test_host_frames_are_dropped():
    answer, _ = run("from mldb import mldb\ndef f():\n    mldb.get('/missing')\nf()\n")
    assert [frame["functionName"] for frame in answer.exception["stack"]] == ["<module>", "f"]
    assert answer.exception["type"] == "mldb.mldb_wrapper.mldb_wrapper.ResponseException"
    assert answer.exception["message"].startswith("Response status code: 404. Response text: {")


def test_exception_whose_text_fails():
    answer, _ = run("class E(Exception):\n    def __str__(self): raise ValueError\nraise E()\n")
    assert answer.exception["type"] == "__main__.E"


def test_all_names_of_both_generations():
    source = """
import mldb as module, sys
from mldb import (mldb as wrapped, mldb_wrapper as w, MldbUnitTest as t, ResponseException, MldbBaseException,
                  TooManyRedirectsException, TestSuiteFailureException, Response, StepsLogger, find_mldb_environment)
from mldb.mldb_wrapper import mldb_wrapper as w2, MldbUnitTest as t2
assert t is t2 is MldbUnitTest and w is w2 is mldb_wrapper
assert w.jsonlib.loads("[1]") == t.json.loads("[1]")
assert not hasattr(mldb, "get") and wrapped.get and mldb_wrapper.wrap(wrapped).query
assert wrapped.script is mldb.script and mldb.plugin is None
assert __name__ == "__main__" and sys.argv == [""]
assert sys.modules["__main__"].__dict__ is globals()
request.set_return([mldb.script.args, find_mldb_environment() is mldb])
"""
    assert result(source, {"n": 1}) == [{"n": 1}, True]


def test_perform_and_wrapper():
    source = """
raw = mldb.perform("POST", "/v1/echo", [["a", 1], ["b", "x"]], {"k": 2.5}, [["X-Name", "v"]])
checked = mldb_wrapper.wrap(mldb).get("/v1/echo", limit=5, flag=True, names=["a"])
request.set_return([raw["statusCode"], raw["headers"], raw["response"], checked.json(), checked.headers["x-echo"]])
"""
    status, headers, body, checked, echo = result(source)
    assert (status, headers, echo) == (200, [["X-Echo", "yes"]], "yes")
    assert json.loads(body) == {"verb": "POST", "params": [["a", "1"], ["b", "x"]], "body": '{"k":2.5}\n'}
    assert checked["params"] == [["limit", "5"], ["flag", "True"], ["names", '["a"]']]
    assert checked["body"] == "null\n"


def test_dataset_names_are_one_element_and_bad_arguments_type_errors():
    _, there = run(
        "import datetime\n"
        "from mldb import mldb as m\n"
        "raw = m._raw\n"
        "import json\n"
        "D = type(raw).create_dataset.__globals__['Dataset']\n"
        "d = D(raw._connection, 'my set')\n"
        "moment = datetime.datetime(2020, 1, 1)\n"
        "d.record_row('a.b', [['x', float('nan'), 0], [3, True, moment], [('p', 1), b'hi', 'NaD']])\n"
        "for bad in (None, -1, 1.5, b'x'):\n"
        "    try: d.record_row(bad, [])\n"
        "    except TypeError as e: assert type(e) is TypeError\n"
        "    else: raise AssertionError(bad)\n"
        "try: d.record_row('r', [['c', object(), 0]])\n"
        "except TypeError as e: assert type(e) is TypeError\n"
        "d.commit()\n"
    )
    row, commit = there.calls
    assert row.path == "/v1/datasets/my%20set/rows"
    assert json.loads(row.body) == {
        "rowName": ["a.b"],
        "columns": [
            [["x"], {"num": "NaN"}, 0],
            [["3"], 1, "2020-01-01T00:00:00Z"],
            [["p", "1"], {"blob": {"base64": "aGk="}}, "NaD"],
        ],
    }
    assert commit.path == "/v1/datasets/my%20set/commit"


def test_bytes_are_blobs_in_what_is_sent_and_no_json_in_what_is_returned():
    source = """
from mldb import mldb

mldb.put("/v1/x", {"b": b"hi", "of": [bytearray(), {"deep": b"\\xff"}]})
mldb.get("/v1/y", input={"content": b"\\x00"})
try:
    mldb.script.set_return({"b": b"hi"})
except TypeError as error:
    print(error)
"""
    answer, there = run(source)
    put, get = there.calls
    assert json.loads(put.body) == {
        "b": {"blob": {"base64": "aGk="}},
        "of": [{"blob": {"base64": ""}}, {"deep": {"blob": {"base64": "/w=="}}}],
    }
    assert dict(get.params) == {"input": '{"content": {"blob": {"base64": "AA=="}}}'}
    assert logs(answer) == [("stdout", "a value of type bytes has no JSON form")]


def test_create_dataset_must_be_new_and_errors_are_runtime_errors():
    source = """
try:
    mldb.create_dataset({"type": "x", "id": "y"})
except KeyError:
    pass  # the echoing host's answer has no id
"""
    _, there = run(source)
    assert there.calls[0].headers == {"mldb-must-be-new": "true"}


def test_run_tests_reports_and_raises():
    source = """
from mldb import mldb, MldbUnitTest
class T(MldbUnitTest):
    def test_table(self):
        self.assertTableResultEquals([["_rowName", "b", "a"], ["r", 2, 1.0]], [["_rowName", "a", "b"], ["r", 1, 2]])
    def test_raises(self):
        with self.assertMldbRaises("is missing", 404) as cm:
            mldb.get("/missing")
        self.assertEqual(cm.exception.response.status_code, 404)
    def test_wrong(self):
        self.assertTableResultEquals([["_rowName", "a"], ["r", 1]], [["_rowName", "a"], ["r", 2]])
mldb.run_tests()
"""
    answer, _ = run(source)
    assert answer.exception["message"].startswith(
        "Test failed: <unittest.runner.TextTestResult run=3 errors=0 failures=1>"
    )
    (report,) = [content for stream, content in logs(answer) if stream == "log"]
    assert "test_wrong" in report
    assert "FAIL" in report


def test_a_dataset_needs_a_type_and_levels_any_case():
    source = """
mldb.debugSetPathOptimizationLevel("ALWAYS")
try: mldb.create_dataset({"id": "x"})
except RuntimeError as error: request.set_return(str(error))
"""
    assert result(source) == "Attempt to create dataset without type being set"


def test_names_that_unittest_dropped_are_there():
    source = """
from mldb import MldbUnitTest
test = MldbUnitTest()
test.assertEquals(1, 1); test.assertNotEquals(1, 2); test.assert_(True); test.assertItemsEqual([1, 2], [2, 1])
test.assertAlmostEquals(1.0, 1.00000001); test.assertNotAlmostEquals(1.0, 1.1)
test.assertRegexpMatches("abc", "b"); test.assertNotRegexpMatches("abc", "d")
with test.assertRaisesRegexp(ValueError, "no"): raise ValueError("no")
try: test.assertItemsEqual([1], [2])
except AssertionError: request.set_return("told")
"""
    assert result(source) == "told"


def test_failed_assertions_say_what_mldbs_say():
    source = """
import re
from mldb import mldb, MldbUnitTest
test = MldbUnitTest()
def told(work):
    try: work()
    except AssertionError as error: return str(error)
def raises(call, *expected):
    def work():
        with test.assertMldbRaises(*expected): call()
    return told(work)
missing = lambda: mldb.get("/missing")
row = {"rowName": "r", "columns": [["a", 1, 0]]}
request.set_return([
    raises(lambda: None),
    raises(missing, re.compile("x+")),
    raises(missing, "is missing", 400),
    told(lambda: test.assertTableResultEquals([["a"], [1]], [["b"], [1]], "hey")),
    told(lambda: test.assertFullResultEquals([row], [], "hey")),
])
"""
    nothing, pattern, status, table, full = result(source)
    assert nothing == "<class 'mldb.mldb_wrapper.mldb_wrapper.MldbBaseException'> not raised"
    assert pattern.startswith('"x+" does not match "')
    assert status == "Status codes are not equal: 404 != 400"
    line = "\n**********\n"
    assert table.startswith("Lists differ: ['a'] != ['b']")
    assert f' : hey{line}Result: [\n    [\n        "a"' in table
    assert full.startswith(f"1 != 0 : hey{line}Result: [")
    assert full.endswith(f"{line}Expected: []")


def test_steps_are_logged_while_they_run_and_once_when_they_ended():
    source = """
from mldb import StepsLogger, Response, mldb
step = {"name": "iterate", "type": "percentile", "value": 0.5, "started": "2020-01-01T00:00:00Z"}
steps = StepsLogger(mldb)
steps.log_progress_steps([step, {"name": "later", "type": "counter", "value": 0}])
for _ in range(2):
    steps.log_progress_steps([{**step, "value": 1.0, "ended": "2020-01-01T00:00:02.5Z"}])
assert steps.done_steps == {"iterate"} and "mldb.mldb_wrapper" in repr(Response)
"""
    answer, _ = run(source)
    running, ended = [content for _, content in logs(answer)]
    assert running.startswith("iterate running since ")
    assert running.endswith(" seconds - percentile 0.5")
    assert ended == "iterate completed in 2.5 seconds - percentile 1.0"


def test_threads_share_output_and_unjoined_ones_do_no_harm():
    source = """
import threading, time
t = threading.Thread(target=lambda: (print("in thread"), mldb.log(mldb.perform("GET", "/v1/x")["statusCode"])))
t.start(); t.join()
threading.Thread(target=lambda: time.sleep(600)).start()
request.set_return("done")
"""
    answer, _ = run(source)
    assert logs(answer) == [("stdout", "in thread"), ("log", "200")]


def test_exit_codes():
    answer, _ = run("request.set_return('x')\nimport sys\nsys.exit()")
    assert answer.body == b'"x"'
    answer, _ = run("import sys\nsys.exit(3)")
    assert answer.exception["type"] == "SystemExit"


def test_scripts_are_isolated_and_big_ones_run():
    async def main():
        async with host() as there:
            await there.script("a = 1\nimport json\njson.dumps = None\nimport sys\nsys.modules['zzz'] = 1")
            seen = await there.script(
                "import json, sys\nrequest.set_return([json.dumps is None, 'zzz' in sys.modules, 'a' in dir()])"
            )
            big = await there.script("# " + "x" * 100_000 + "\nrequest.set_return('ü')")
            return seen.body, big.body.decode()

    assert asyncio.run(main()) == (b"[false,false,false]", '"ü"')


def test_the_host_cannot_be_imported():
    answer, _ = run("import server.app")
    assert answer.exception["type"] == "ModuleNotFoundError"


def test_hung_script_is_ended_at_its_deadline():
    with pytest.raises(RequestFailed) as caught:
        run("while True: pass", start_seconds=0.5)
    assert caught.value.code == 504


def test_time_in_host_calls_does_not_count():
    async def main():
        async with host() as there:
            echo = there.perform

            async def slow(call):
                await asyncio.sleep(4.0)
                return await echo(call)

            there.perform = slow
            return await there.script("mldb.perform('GET', '/v1/x')\nrequest.set_return(1)", start_seconds=3.0)

    assert asyncio.run(main()).body == b"1"


def test_env_holds_no_secret(monkeypatch):
    monkeypatch.setenv("MLDB_TOKEN", "secret")
    monkeypatch.setenv("TMP", "/tmp")
    assert result("import os\nrequest.set_return([os.environ.get('MLDB_TOKEN'), os.environ['TMP']])") == [None, "/tmp"]


@pytest.mark.parametrize(
    "source",
    ["for n in range(11_000): print(n)", "print('first'); print('x' * 5_000_000); print('last')"],
)
def test_output_without_end_is_cut_and_says_so(source):
    answer, there = run(source)
    entries = logs(answer)
    assert entries[0] in (("stdout", "0"), ("stdout", "first"))
    assert entries[-1] == ("stdout", "(further output is in the server log only)")
    assert [text for _, text in entries].count(entries[-1][1]) == 1
    assert sum(len(text) for _, text in entries) < 5_000_000
    assert max(map(len, there.logged())) < 70_000


def test_long_lines_are_cut_before_they_leave_the_worker():
    _, there = run("mldb.log('x' * 10_000_000)\nprint('é' * 100_000)")
    assert [len(line) for line in there.logged()] == [
        64 * 1024 + len("… (10000000 characters)"),
        64 * 1024 + len("… (100000 characters)"),
    ]
