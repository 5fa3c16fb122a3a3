"""JavaScript plugins and scripts (entity-types.md §5), on a server as users run it."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import SOON, until

RUN = "/v1/types/plugins/javascript/routes/run"


@pytest.fixture
def run(client):
    """The output object of a script that ends well, or of one that is to fail."""

    def run(source, args=None, *, fails=False):
        answer = client.post(RUN, json={"source": source, **({} if args is None else {"args": args})})
        assert answer.status_code == (400 if fails else 200), answer.text
        return answer.json()

    return run


@pytest.fixture
def plugin(client):
    """Makes a plugin of a source; forgets it in the end."""

    def make(source, **params):
        config = {"type": "javascript", "params": {"source": {"main": source}, **params}}
        return client.put("/v1/plugins/js", json=config)

    yield make
    client.delete("/v1/plugins/js")


# ── scripts ──


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("1 + 1", 2),
        ("var a = 'é'; a + '日本'", "é日本"),
        ("({b: [1.5, null], a: true})", {"a": True, "b": [1.5, None]}),
        ("let x = 3; const f = () => x; f()", 3),
        ("args.n * 2", 42),
        ("plugin.args.n", 21),
        ("[NaN, Infinity]", [None, None]),
        ("[1e20, -1e19, 2 ** 53, 1e300]", [1e20, -1e19, 2**53, 1e300]),
        ('mldb.sqlEscape("It\'s hot")', "'It''s hot'"),
        ("require('mldb') === mldb", True),
        ("mldb.createPath(['a', 1])", {"path": ["a", "1"]}),
        ("mldb.createInterval({months: 1, seconds: 2})", {"interval": "1 MONTH 0 DAY 2 SECOND"}),
        ("typeof host", "undefined"),
        ("JSON.stringify = JSON.parse = () => 'another'; mldb.sqlEscape('x')", "'x'"),
    ],
)
def test_the_last_expression_is_the_result(run, source, result):
    assert run(source, {"n": 21})["result"] == result


@pytest.mark.parametrize("source", ["undefined", "f = () => 1", "Symbol('x')"])
def test_nothing_to_tell(run, source):
    assert run(source) == {}


def test_a_failure_without_words_has_its_name(run):
    failed = run("mldb.openStream('file:///dev/zero').readBlob(2 ** 62)", fails=True)
    assert failed["exception"]["message"] in ("Error: MemoryError", "Error: OverflowError")


def test_logs_are_in_order_with_objects_as_json(run):
    logs = run("mldb.log('one', 2, {three: [3]}); plugin.log(new Date(0)); console.log('four')")["logs"]
    assert [(entry["s"], entry["c"]) for entry in logs] == [
        ("log", 'one 2 {\n   "three": [\n      3\n   ]\n}'),
        ("logs", "1970-01-01T00:00:00Z"),
        ("log", "four"),
    ]


@pytest.mark.parametrize(
    ("source", "type_", "message", "line"),
    [
        ("var a = 1;\n  nosuch.foo();", "ReferenceError", "ReferenceError: nosuch is not defined", 2),
        ("\n\nvar = 4", "SyntaxError", "SyntaxError: ", 3),
        ("function f() {\n  throw new TypeError('no') }\nf()", "TypeError", "TypeError: no", 2),
        ("1;\nmldb.createDataset({type: 'nosuch'})", "Error", "Error: couldn't find type 'nosuch' in registry", 2),
        ("require('fs')", "Error", "Error: Only require modules under mldb are supported: mldb and", 1),
        ("require('mldb/no')", "Error", "Error: Unable to find javascript module mldb/no: there are mldb and", 1),
        ("mldb.get()", "Error", "Error: argument 0 (resource) must be present", 1),
        ("mldb.createDataset(null)", "Error", "Error: argument 0 (Config) was null", 1),
        ("mldb.createDataset({})", "Error", "Error: Attempt to obtain dataset without setting 'id' (to refer", 1),
        ("mldb.get('/ping', 3)", "Error", "Error: couldn't convert JS value '3' to REST parameters", 1),
        ("mldb.get('/ping', [['a']])", "Error", "Error: invalid length for pair extraction", 1),
        ("mldb.createPath(1.5)", "Error", "Error: Unparseable JSON Path value: 1.5", 1),
        ("mldb.createPath('a\"b')", "Error", 'Error: this is no path: a"b', 1),
        (
            "mldb.createInterval({months: {}})",
            "TypeError",
            "TypeError: the months of an interval must be a number, not {}",
            1,
        ),
        ("mldb.createInterval(1, '2')", "TypeError", 'TypeError: the days of an interval must be a number, not "2"', 1),
        ("mldb.createInterval({interval: 3})", "TypeError", "TypeError: an interval as text, not 3", 1),
        ("function g() { return g() + 1 }\ng()", "RangeError", "RangeError: Maximum call stack size exceeded", 1),
    ],
)
def test_exceptions_name_their_place(run, source, type_, message, line):
    exception = run(source, fails=True)["exception"]
    assert exception["type"] == type_
    assert exception["message"].startswith(message)
    assert exception["lineNumber"] == exception["stack"][0]["lineNumber"] == line
    assert exception["lineContents"] == source.splitlines()[line - 1]
    assert {frame["scriptUri"] for frame in exception["stack"]} == {"/main.js"}


def test_anything_can_be_thrown(run):
    assert run("throw {a: 1}", fails=True)["exception"]["extra"] == {"a": 1}
    assert run("throw 'words'", fails=True)["exception"]["message"] == "words"


def test_an_address(client, server):
    (server.data_dir / "answer.js").write_text("mldb.log('here');\nargs + nosuch", encoding="utf-8")
    answer = client.post(RUN, json={"address": f"file://{server.data_dir}/answer.js", "args": 1})
    assert answer.json()["exception"]["scriptUri"] == f"file://{server.data_dir}/answer.js"


# ── the API ──


def test_datasets(run):
    source = """
    var config = {id: 'from js', type: 'sparse.mutable'};
    var dataset = mldb.createDataset(config);
    dataset.recordRow(['a.b'], [['x', 1, 0], ['y', 'é', new Date(1000)]])
           .recordRows([['r2', [['x', NaN, 0], [['p', 'q'], mldb.createInterval(1, 2, 3), '2016-01-01']]]])
           .recordColumn('z', [['r2', null, 0]]);
    dataset.commit();
    [mldb.query('SELECT * FROM "from js" ORDER BY rowName()'), dataset.id(), dataset.type(), config.id,
     dataset.status().rowCount, dataset.getColumnPaths().length, dataset.details(), dataset.getTimestampRange()]
    """
    rows, id, type_, config_id, count, columns, details, _ = run(source)["result"]
    assert (id, type_, config_id, count, columns, details) == ("from js", "sparse.mutable", "from js", 2, 4, None)
    assert rows[0] == {
        "rowName": '"a.b"',
        "columns": [["x", 1, "1970-01-01T00:00:00Z"], ["y", "é", "1970-01-01T00:00:01Z"]],
    }
    second = {name: value for name, value, _ in rows[1]["columns"]}
    assert second == {"p.q": {"interval": "1 MONTH 2D 3S"}, "x": {"num": "NaN"}, "z": None}


def test_names_are_texts_of_paths_or_elements(run):
    source = """
    var dataset = mldb.createDataset({id: 'paths_js', type: 'sparse.mutable'});
    dataset.recordRow('a."b.c"', [['x.y', 1, 0], [['x.y'], 2, 0], [7, 3, 0]]);
    dataset.recordRows([{rowPath: ['p', 'q'], columns: [[mldb.createPath('u.v'), 4, 0]]}]).commit();
    var rows = mldb.query('SELECT * FROM paths_js ORDER BY rowName()');
    [rows.map((row) => [row.rowName, row.columns.map(([name]) => name)]),
     dataset.getColumnPaths(), mldb.createPath('a."b""c".'), mldb.createPath(3)]
    """
    rows, columns, path, number = run(source)["result"]
    assert rows == [['a."b.c"', ["7", "x.y", '"x.y"']], ["p.q", ["u.v"]]]
    assert sorted(columns) == [["7"], ["u", "v"], ["x", "y"], ["x.y"]]
    assert (path, number) == ({"path": ["a", 'b"c', ""]}, {"path": ["3"]})


def test_times_as_text_are_the_servers_to_read(run):
    source = """
    var dataset = mldb.createDataset({type: 'sparse.mutable', params: {timeQuantumSeconds: 0.000001}});
    dataset.recordRow('r', [['a', 1, '2015-01-01T00:00:00.123456Z'], ['b', 1, '2015-06-01T00:00:00'], ['c', 1, '-Inf'],
      ['d', 1, 'June 1, 2015 00:00 UTC']]).commit();
    mldb.query('SELECT * FROM ' + dataset.id())[0].columns.map((cell) => cell[2])
    """
    assert run(source)["result"] == [
        "2015-01-01T00:00:00.123456Z", "2015-06-01T00:00:00Z", "-Inf", "2015-06-01T00:00:00Z",
    ]  # fmt: skip
    source = "mldb.createDataset({type: 'tabular'}).recordRow('r', [['a', 1]])"
    assert run(source, fails=True)["exception"]["message"] == "Error: Couldn't convert from undefined to MLDB::Date"


def test_what_comes_from_the_server_has_its_members_sorted(run):
    """Tests written for MLDB compare it as JSON text."""
    source = """
    var u = require('mldb/unittest');
    var answer = mldb.get('/v1/query', {q: 'SELECT 1 AS x', format: 'full'});
    u.assertEqual(Object.keys(answer), ['responseCode', 'contentType', 'response', 'json']);
    u.assertEqual(answer.json, [{columns: [['x', 1, '-Inf']], rowName: 'result'}]);
    u.assertEqual(mldb.query('SELECT 1 AS x'), [{columns: [['x', 1, '-Inf']], rowName: 'result'}]);
    u.assertEqual(args, {a: {c: 1, d: 2}, b: null});
    Object.keys(JSON.parse('{"__proto__": 1, "a": 2}')).length
    """
    assert run(source, {"b": None, "a": {"d": 2, "c": 1}})["result"] == 2


def test_errors_of_the_server_tell_what_it_told(run):
    source = "try { mldb.createFunction({type: 'nosuch'}) } catch (e) { [e.message, e.error, e.httpCode, e.details] }"
    message, error, code, details = run(source)["result"]
    assert (message, error, code) == ("couldn't find type 'nosuch' in registry", message, 400)
    failed = run("mldb.query('SELECT * FROM nosuch_js')", fails=True)["exception"]
    assert failed["extra"]["httpCode"] == 404
    assert failed["extra"]["details"]["entry"] == "nosuch_js"
    refused = run("mldb.createSensor({type: 'nosuch'})", fails=True)
    assert refused["exception"]["extra"]["httpCode"] == 404
    assert details is None or isinstance(details, dict)


def test_times_among_parameters_are_times(run):
    source = """
    mldb.createFunction({id: 'later_js', type: 'sql.expression', params: {expression: "t + INTERVAL '1D' AS t"}});
    [mldb.get('/v1/functions/later_js/application', {input: {t: new Date(0)}, outputFormat: 'json'}).json,
     mldb.get('/v1/functions/later_js/application', [['input', {t: new Date(0)}], ['outputFormat', 'json']]).json]
    """
    assert run(source)["result"] == [{"t": {"ts": "1970-01-02T00:00:00Z"}}] * 2


def test_functions_and_procedures(run):
    source = """
    var double = mldb.createFunction({id: 'double_js', type: 'sql.expression', params: {expression: 'x * 2 AS y'}});
    var script = {language: 'python', scriptConfig: {source: 'mldb.script.set_return(mldb.script.args + 1)'}};
    var config = {type: 'script.run', params: {...script, runOnCreation: false}};
    var procedure = mldb.createProcedure(config);
    var ran = procedure.run({params: {args: 41}});
    [double.callJson({x: 4}), double.call({x: 4}), double.type(), ran,
     procedure.id() == config.id && procedure.details() === null && double.details() === null]
    """
    function, other, type_, ran, named = run(source)["result"]
    assert (function, other, type_, named) == ({"y": 8}, {"y": 8}, "sql.expression", True)
    assert (ran["results"], ran["details"]["result"]) == (42, 42)


def test_what_is_there_already_is_taken(run):
    run("mldb.createDataset({id: 'kept_js', type: 'sparse.mutable'}).recordRow('r', [['x', 1, 0]]).commit()")
    source = "mldb.createDataset({id: 'kept_js', type: 'sparse.mutable'}).status().rowCount"
    assert run(source)["result"] == 1


def test_requests(run):
    source = """
    var put = mldb.put('/v1/functions/one_js', {type: 'sql.expression', params: {expression: '1 AS one'}});
    var missing = mldb.get('/v1/functions/nosuch');
    var query = mldb.get('/v1/query', {q: 'SELECT 1 AS one', format: 'aos'}).json;
    var posted = mldb.perform('POST', '/v1/query', [['format', 'soa']], {q: 'SELECT 2 AS two'});
    var gone = mldb.del('/v1/functions/one_js');
    [put.responseCode, missing.responseCode, missing.json.error, query, gone.responseCode, mldb.getHttpBoundAddress()]
    """
    put, missing, error, query, gone, address = run(source)["result"]
    assert (put, missing, gone) == (201, 404, 204)
    assert "nosuch" in error
    assert query == [{"_rowName": "result", "one": 1}]
    assert address.startswith("http://")


def test_streams(run, tmp_path):
    (tmp_path / "lines.txt.gz").write_bytes(gzip.compress('first\r\né\n{"a": [1]} rest'.encode()))
    (tmp_path / "bytes").write_bytes(bytes([1, 255, 1, 0, 0, 1, 255, 255, 255, 255, 7]))
    source = """
    var text = mldb.openStream(args + '/lines.txt.gz');
    var bytes = mldb.openStream(args + '/bytes');
    var read = [text.readLine(), text.readLine(), text.readJson(), text.eof(), text.readLine(), text.eof(),
      bytes.readU8(), bytes.readI8(), bytes.readU16LE(), bytes.readU16BE(), bytes.readI32LE(), bytes.readBytes(5),
      Object.keys(mldb.ls(args).objects).length];
    try { bytes.readU8() } catch (error) { read.push(error.message) }
    try { mldb.openStream(args + '/nosuch') } catch (error) { read.push(error.message.includes('cannot be read')) }
    read
    """
    assert run(source, f"file://{tmp_path}")["result"] == [
        "first", "é", {"a": [1]}, False, " rest", True, 1, -1, 1, 1, -1, [7], 2, "End of file", True,
    ]  # fmt: skip


def test_more_streams_than_files_may_be_open(run, tmp_path):
    (tmp_path / "byte").write_bytes(b"7")
    source = """
    let sum = 0;
    for (let n = 0; n < 3000; n++) {
      const all = {stream: mldb.openStream(args)};
      all.self = all;  // freed by the collector alone
      sum += all.stream.readU8() - 48;
    }
    sum
    """
    assert run(source, f"file://{tmp_path}/byte")["result"] == 21000


def test_streams_that_somebody_has_are_not_closed(run, tmp_path):
    (tmp_path / "bytes").write_bytes(b"0123")
    source = """
    const all = [];
    for (let n = 0; n < 300; n++) all.push(mldb.openStream(args));
    all.map((stream) => stream.readU8() - 48).reduce((sum, one) => sum + one) + all[0].readU8()
    """
    assert run(source, f"file://{tmp_path}/bytes")["result"] == 49


def test_differences_are_found_and_applied(run):
    source = """
    var found = mldb.diff({a: 1, b: [1, 2], c: {d: null}}, {a: 2, b: [1], c: {d: null}, e: 'new'});
    [found, mldb.patch({a: 1, b: [1, 2], c: {d: null}}, found), mldb.patch({a: 7}, {f: {a: {'-': 1, '+': 2}}}),
     mldb.diff({a: [NaN, {b: 1}]}, {a: [NaN, {b: 1}]}), mldb.diff(1, '1')]
    """
    found, applied, refused, same, other = run(source)["result"]
    assert found == {"f": {"a": {"-": 1, "+": 2}, "b": {"-": [1, 2], "+": [1]}, "e": {"+": "new"}}}
    assert applied == [{"a": 2, "b": [1], "c": {"d": None}, "e": "new"}, {}]
    assert refused == [{"a": 7}, {"f": {"a": {"-": 1, "+": 2}}}]
    assert (same, other) == ({}, {"-": 1, "+": "1"})


def test_random_numbers_follow_their_seed(run):
    source = """
    var one = mldb.createRandomNumberGenerator(7), other = mldb.createRandomNumberGenerator(7);
    var numbers = [], same = true, total = 0, squares = 0;
    for (var i = 0; i < 20000; ++i) {
      var value = one.normal(3, 2);
      same = same && value === other.normal(3, 2);
      total += value; squares += value * value;
    }
    var uniform = Array.from({length: 1000}, () => one.uniform(5, 6));
    [same, total / 20000, Math.sqrt(squares / 20000 - (total / 20000) ** 2), Math.min(...uniform), Math.max(...uniform)]
    """
    same, mean, deviation, least, most = run(source)["result"]
    assert same
    assert mean == pytest.approx(3, abs=0.1)
    assert deviation == pytest.approx(2, abs=0.1)
    assert 5 <= least < 5.1 < 5.9 < most <= 6


def test_assertions_of_the_module(run):
    source = "var u = require('mldb/unittest'); u.assertEqual([1], [1]); u.assertNearlyEqual({a: 1}, {a: 1.001})"
    assert run(source)["result"] is True
    failed = run("require('mldb/unittest').assertEqual(1, 2, 'numbers')", fails=True)
    assert failed["exception"]["message"] == "Assertion failure: numbers: 1 not equal to 2"
    assert [entry["c"] for entry in failed["logs"]] == ["expected 2", "received 1"]


# ── procedures and functions ──


def test_script_run_and_apply(client):
    config = {"source": "args.a + 1", "args": {"a": 2}}
    params = {"language": "javascript", "scriptConfig": config}
    made = client.put("/v1/procedures/run_js", json={"type": "script.run", "params": params}).json()
    assert made["status"]["firstRun"]["status"] == 3
    params = {
        "language": "javascript",
        "scriptConfig": {"source": "args[0].map(([name, [v, ts]]) => [name, v * 2, ts])"},
    }
    client.must("PUT", "/v1/functions/apply_js", {"type": "script.apply", "params": params})
    assert client.query("SELECT apply_js({args: {x: 4}}) AS *") == [["_rowName", "return.x"], ["result", 8]]
    params = {"language": "cobol", "scriptConfig": config}
    refused = client.put("/v1/procedures/no", json={"type": "script.run", "params": params})
    assert "'python' or 'javascript'" in refused.text


# ── plugins ──


def test_a_plugin_answers_requests_and_tells_its_status(client, plugin):
    source = """
    var count = 0;
    plugin.setStatusHandler(() => ({count: count, greeting: plugin.args.greeting}));
    plugin.setRequestHandler(function (path, verb, resource, params, payload, contentType, contentLength, headers) {
      count += 1;
      if (path == '/fail') throw new TypeError('bad ' + path);
      if (path == '/query') return mldb.query('SELECT 1 AS one');
      return {path, verb, resource, params, payload, contentType, contentLength, agent: headers['user-agent']};
    });
    """
    assert plugin(source, args={"greeting": "hi"}).status_code == 201
    answer = client.post("/v1/plugins/js/routes/a%20b?x=1&x=2", content="é", headers={"user-agent": "me"})
    assert answer.json() == {
        "path": "/a%20b", "verb": "POST", "resource": "/v1/plugins/js/routes/a%20b", "params": [["x", "1"], ["x", "2"]],
        "payload": "é", "contentType": "", "contentLength": 2, "agent": "me",
    }  # fmt: skip
    assert client.get("/v1/plugins/js/routes/query").json()[0]["rowName"] == "result"
    failed = client.get("/v1/plugins/js/routes/fail")
    assert failed.status_code == 400
    assert failed.json()["exception"]["message"] == "TypeError: bad /fail"
    assert client.get("/v1/plugins/js").json()["status"] == {"count": 3, "greeting": "hi"}


RECURSIVE = """
plugin.setRequestHandler((path, verb, resource, params) => {
  const n = Number(path.slice(1));
  if (n === 0) return params;
  const inner = mldb.get(ROUTE + (n - 1), params);
  return inner.responseCode === 200 ? [n, inner.json] : inner;
});
"""


def test_a_handler_may_ask_its_own_plugin(client, plugin):
    assert plugin(RECURSIVE.replace("ROUTE", "'/v1/plugins/js/routes/'")).status_code == 201
    assert client.get("/v1/plugins/js/routes/3?a=é").json() == [3, [2, [1, [["a", "é"]]]]]


def test_a_handler_may_read_a_page_of_its_own_plugin(server, client, plugin):
    """By its address, as those of others."""
    source = """
    plugin.setRequestHandler((path, verb, resource, params) => path === '/inner'
      ? params : mldb.openStream(mldb.getHttpBoundAddress() + '/v1/plugins/js/routes/inner?a=b%20c').readJson());
    """
    assert plugin(source).status_code == 201
    assert client.get("/v1/plugins/js/routes/outer", timeout=SOON).json() == [["a", "b c"]]
    none = "plugin.setRequestHandler(() => mldb.openStream('ADDRESS/v1/datasets/none').readLine())"
    assert plugin(none.replace("ADDRESS", server.url)).status_code == 201
    answer = client.get("/v1/plugins/js/routes/x")
    assert (answer.status_code, "dataset entry 'none' doesn't exist" in answer.text) == (400, True)


def test_a_handler_may_ask_its_own_plugin_by_way_of_others(client, plugin):
    """Of a Python plugin and of a script that is run."""
    routes = (
        "import json\n"
        "body = {'source': 'mldb.get(\"/v1/plugins/js/routes' + request.remaining + '\").json'}\n"
        f"answer = mldb.perform('POST', '{RUN}', [], body)\n"
        "request.set_return(json.loads(answer['response'])['result'])"
    )
    between = {"type": "python", "params": {"source": {"routes": routes}}}
    assert client.put("/v1/plugins/between", json=between).status_code == 201
    assert plugin(RECURSIVE.replace("ROUTE", "'/v1/plugins/between/routes/'")).status_code == 201
    assert client.get("/v1/plugins/js/routes/2").json() == [2, [1, []]]
    client.delete("/v1/plugins/between")


def test_a_handler_that_asks_for_itself_without_end_is_told(client, plugin):
    assert plugin(RECURSIVE.replace("ROUTE", "'/v1/plugins/js/routes/'")).status_code == 201
    answer = client.get("/v1/plugins/js/routes/1000").json()
    while isinstance(answer, list):
        answer = answer[1]
    assert answer["responseCode"] == 400
    assert "more than 32 deep" in answer["json"]["exception"]["message"]
    assert client.get("/v1/plugins/js/routes/1").json() == [1, []]


def test_other_requests_wait_for_the_one_under_way(client, plugin):
    """What a handler finds after it has asked the server is what it left, unless it asked for itself."""
    source = """
    let n = 0;
    plugin.setRequestHandler((path) => {
      const before = ++n;
      mldb.get(path === '/self' ? '/v1/plugins/js/routes/x' : '/v1/query', {q: 'SELECT 1 AS one'});
      return path === '/x' || n - before;
    });
    """
    assert plugin(source).status_code == 201
    with ThreadPoolExecutor(16) as threads:
        paths = [f"/v1/plugins/js/routes/{name}" for name in ["self", "y"] * 20]
        found = [answer.json() for answer in threads.map(client.get, paths)]
    assert found == [1, 0] * 20


def test_streams_that_nobody_has_any_more_are_closed(client, plugin, tmp_path):
    (tmp_path / "bytes").write_bytes(bytes(10))
    handler = (
        "mldb.openStream(plugin.args).readU8(); return Object.keys(mldb.ls('file:///proc/self/fd').objects).length"
    )
    source = f"plugin.setRequestHandler(() => {{ {handler} }})"
    assert plugin(source, args=f"file://{tmp_path}/bytes").status_code == 201
    open_files = [client.get("/v1/plugins/js/routes/x").json() for _ in range(40)]
    assert max(open_files) <= open_files[0] + 3


def test_promises_are_waited_for(client, plugin, run):
    assert run("(async () => { const two = await Promise.resolve(2); return [two, await 3] })()")["result"] == [2, 3]
    failed = run("(async () => {\n  await null;\n  throw new TypeError('late') })()", fails=True)["exception"]
    assert (failed["type"], failed["lineNumber"]) == ("TypeError", 3)
    assert "nothing is left to run" in run("new Promise(() => {})", fails=True)["exception"]["message"]
    assert run("globalThis.Promise = null; (async () => 4)()")["result"] == 4
    source = """
    plugin.setStatusHandler(async () => 'well');
    plugin.setRequestHandler(async (path) => {
      await null;
      if (path === '/fail') throw new Error('no');
      return path === '/outer' ? [await mldb.get('/v1/plugins/js/routes/inner').json] : path;
    });
    """
    assert plugin(source).status_code == 201
    assert client.get("/v1/plugins/js/routes/outer").json() == ["/inner"]
    assert client.get("/v1/plugins/js/routes/fail").json()["exception"]["message"] == "Error: no"
    assert client.get("/v1/plugins/js").json()["status"] == "well"
    assert plugin("(async () => { await null; nosuch() })()").status_code == 400
    with ThreadPoolExecutor(8) as threads:
        assert plugin(source).status_code == 201
        found = threads.map(client.get, ["/v1/plugins/js/routes/outer", "/v1/plugins/js/routes/x"] * 10)
        assert [answer.json() for answer in found] == [["/inner"], "/x"] * 10


def test_what_the_code_of_a_plugin_comes_to_is_nobodys(client, plugin):
    assert plugin("var a = {}; a.self = a").status_code == 201
    assert plugin("plugin.setRequestHandler(() => 1)").status_code == 201
    assert client.get("/v1/plugins/js/routes/lastoutput").json() == {}


def test_documentation_is_served_on_its_route_too(client, server):
    folder = server.data_dir / "documented"
    (folder / "pages").mkdir(parents=True)
    (folder / "pages" / "index.md").write_text("# Read *me*")
    (folder / "main.js").write_text(
        "plugin.serveDocumentationFolder('/manual', 'pages').serveDocumentationFolder('again', 'pages')"
    )
    config = {"type": "javascript", "params": {"address": f"file://{folder}"}}
    made = client.put("/v1/plugins/documented", json=config)
    assert made.status_code == 201, made.text
    for place in ("routes/manual/index.md.html", "routes/again/index.md", "doc/index.md.html"):
        assert "<em>me</em>" in client.get(f"/v1/plugins/documented/{place}").text
    client.delete("/v1/plugins/documented")


def test_without_a_handler_there_are_no_routes(client, plugin):
    assert plugin("mldb.log('nothing')").status_code == 201
    output = client.get("/v1/plugins/js/routes/lastoutput").json()
    assert [entry["c"] for entry in output["logs"]] == ["nothing"]
    assert client.get("/v1/plugins/js/routes/x").status_code == 404


def test_a_main_that_fails_makes_no_plugin(client, plugin):
    answer = plugin("var a = 1;\nnosuch()")
    assert answer.status_code == 400
    assert answer.json()["error"] == "Exception running plugin script"
    assert answer.json()["details"]["exception"]["lineNumber"] == 2
    assert answer.json()["details"]["exception"]["context"] == ["Running plugin script"]


@pytest.mark.parametrize("main", ["var a = 1;\nvar = 2", "function f() { return 1"])
def test_a_main_that_is_no_javascript(client, plugin, main):
    answer = plugin(main)
    assert answer.json()["error"] == "Exception compiling plugin script"
    assert answer.json()["details"]["exception"]["context"] == ["Compiling plugin script"]
    for source in ("JSON.parse('{')", "new Function('var = 2')", "eval('var = 2')"):
        assert plugin(source).json()["error"] == "Exception running plugin script"
    run = client.post("/v1/types/plugins/javascript/routes/run", json={"source": "nosuch()"})
    assert run.json()["exception"]["context"] == ["Running script"]


def test_a_dropped_folder_is_served_and_follows_its_edits(client, server):
    folder = server.data_dir / "plugins" / "dropped_js"
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "page.txt").write_text("a page")
    main = folder / "main.js"
    source = "plugin.serveStaticFolder('/static', 'static'); plugin.setRequestHandler(() => 'VERSION')"
    main.write_text(source.replace("VERSION", "first"))
    routes = "/v1/plugins/dropped_js/routes"
    until(lambda: client.get(f"{routes}/x").text == '"first"\n')
    assert client.get(f"{routes}/static/page.txt").text == "a page"
    assert client.get("/v1/plugins/dropped_js").json()["type"] == "javascript"
    main.write_text(source.replace("VERSION", "second"))
    until(lambda: client.get(f"{routes}/x").text == '"second"\n')
    main.write_text("this is wrong")
    until(lambda: "lastFailure" in json.dumps(client.get("/v1/plugins/dropped_js").json()))
    assert client.get(f"{routes}/x").text == '"second"\n'  # the last good one serves on
    main.unlink()
    (folder / "static" / "page.txt").unlink()
    (folder / "static").rmdir()
    folder.rmdir()
    until(lambda: client.get("/v1/plugins/dropped_js").status_code == 404)


def test_code_that_never_ends_is_replaced(start_server):
    server = start_server("--request-timeout", "1")
    source = "plugin.setRequestHandler((path) => { while (path == '/forever'); return 'here' })"
    with server.client() as client:
        config = {"type": "javascript", "params": {"source": {"main": source}}}
        assert client.put("/v1/plugins/loop", json=config).status_code == 201
        assert client.get("/v1/plugins/loop/routes/forever").status_code == 504
        until(lambda: client.get("/v1/plugins/loop/routes/x").text == '"here"\n')


def test_code_that_takes_all_memory_hurts_nobody_else(start_server):
    server = start_server("--worker-memory", "200")
    with server.client() as client:
        source = "var all = []; for (;;) all.push(new Array(100000).fill(all.length))"
        answer = client.post(RUN, json={"source": source})
        assert answer.status_code in (400, 502, 507), answer.text
        assert client.post(RUN, json={"source": "1 + 1"}).json() == {"result": 2}
