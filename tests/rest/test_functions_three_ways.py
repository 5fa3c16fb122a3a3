"""Every function type gives the same answer in SQL, over REST (single and batch) and from Python in a plugin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pymongo
import pytest

from server.builtin_types import BUILTIN_TYPES
from tests.bridges.conftest import mongodb, postgresql  # noqa: F401 - fixtures
from tests.conftest import RunningServer

ROUTES = """
import json
asked = json.loads(request.payload)
path = '/v1/functions/' + asked['name']
request.set_return({
    'application': mldb.perform('GET', path + '/application', [], {'input': asked['input'], 'outputFormat': 'json'}),
    'batch': mldb.perform('GET', path + '/batch', [], {'input': [asked['input']]}),
    'query': mldb.perform('GET', '/v1/query', [['q', asked['query']]], None),
})
"""
XOR = {f"r{n}": {"x": n % 2 + n / 1000, "y": n // 2 % 2 - n / 900, "l": (n % 2) ^ (n // 2 % 2)} for n in range(40)}
WORDS = {"hello": 2, "friends": 1, "the": 1}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0"
SCRIPT = "import json\nargs = mldb.script.args\nmldb.script.set_return([['n', len(args[0]), 0], ['t', 'é', 10]])"

# Function type: how it is made (a procedure, or parameters), and what it is asked. ``{dir}`` is a URL of a folder.
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "classifier": (
        "classifier.train",
        {"trainingData": "SELECT {x, y} AS features, l AS label FROM xor", "algorithm": "bbdt",
         "modelFileUrl": "{dir}/a.cls"},
    ),
    "probabilizer": (
        "probabilizer.train",
        {"trainingData": "SELECT x AS score, l AS label FROM xor", "modelFileUrl": "{dir}/a.prb"},
    ),
    "svm": ("svm.train", {"trainingData": "SELECT x, y, l AS label FROM xor", "modelFileUrl": "{dir}/a.svm"}),
    "kmeans": (
        "kmeans.train",
        {"trainingData": "SELECT x, y FROM xor", "numClusters": 3, "modelFileUrl": "{dir}/a.kms"},
    ),
    "gaussianclustering": (
        "gaussianclustering.train",
        {"trainingData": "SELECT x, y FROM xor", "numClusters": 3, "modelFileUrl": "{dir}/a.gs"},
    ),
    "svd.embedRow": (
        "svd.train",
        {"trainingData": "SELECT x, y, l FROM xor", "numSingularValues": 2, "modelFileUrl": "{dir}/a.svd"},
    ),
    "tsne.embedRow": (
        "tsne.train",
        {"trainingData": "SELECT x, y FROM xor", "maxIterations": 250, "modelFileUrl": "{dir}/a.tsn"},
    ),
    "tfidf": (
        "tfidf.train",
        {"trainingData": "SELECT tokenize(t, {splitChars: ' '}) AS * FROM texts", "modelFileUrl": "{dir}/a.idf"},
    ),
    "statsTable.getCounts": (
        "statsTable.train",
        {"trainingData": "SELECT t FROM texts ORDER BY rowName()", "outcomes": [["won", "n > 1"]],
         "statsTableFileUrl": "{dir}/a.st"},
    ),
    "experimental.distTable.getStats": (
        "experimental.distTable.train",
        {"trainingData": "SELECT t FROM texts ORDER BY rowName()", "outcomes": [["price", "n"]],
         "distTableFileUrl": "{dir}/a.dt"},
    ),
}  # fmt: skip
MADE: dict[str, dict[str, Any]] = {
    "classifier.explain": {"modelFileUrl": "{dir}/a.cls"},
    "statsTable.bagOfWords.posneg": {
        "statsTableFileUrl": "{dir}/words.st", "outcomeToUse": "won", "numPos": 2, "numNeg": 1, "minTrials": 1,
    },
    "embedding.neighbors": {"dataset": "vectors", "defaultNumNeighbors": 2},
    "feature_hasher": {"numBits": 2, "mode": "columnsAndValues"},
    "fetcher": {},
    "filter_stopwords": {},
    "html.parse": {},
    "http.useragent": {},
    "image.proximatevoxels": {"expression": "[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]", "range": 0},
    "image.readpixels": {"expression": "[[1, 2], [3, 4]]"},
    "mongodb.query": {"uriConnectionScheme": "{mongodb}", "collection": "people"},
    "pooling": {"embeddingDataset": "vectors", "aggregators": ["avg", "max"]},
    "postgresql.query": {"query": "SELECT $n::int + 1 AS more, 'é' AS t"},
    "script.apply": {"language": "python", "scriptConfig": {"source": SCRIPT}},
    "serial": {"steps": [{"type": "sql.expression", "params": {"expression": "x + y AS z"}}]},
    "sql.expression": {"expression": "x * 2 AS x, upper(t) AS t, {a: x, b: [y, x]} AS row"},
    "sql.query": {"query": "SELECT count(*) AS n, $x + 1 AS more FROM xor WHERE x > $x"},
    "stemmer": {},
    "stemmerdoc": {"language": "french"},
    "tensorflow.graph": {"modelFileUrl": "{dir}/dense.pb", "inputs": "x", "outputs": "y, total"},
    "tensorflow.op": {"op": "MatrixInverse", "attr": {"T": {"type": "DT_DOUBLE"}}},
    "tokensplit": {"tokens": "SELECT ':P', '(>_<)'"},
}  # fmt: skip
INPUTS: dict[str, dict[str, Any]] = {
    "classifier": {"features": {"x": 1.25, "y": 0}},
    "classifier.explain": {"features": {"x": 1.25, "y": 0}, "label": 1},
    "embedding.neighbors": {"coords": "hello"},
    "experimental.distTable.getStats": {"features": {"t": "hello friends"}},
    "feature_hasher": {"columns": {"a": 1, "é": "x"}},
    "fetcher": {"url": "{dir}/file.bin"},
    "filter_stopwords": {"words": WORDS},
    "gaussianclustering": {"embedding": {"x": 1, "y": 0.5}},
    "html.parse": {"text": "<p>é <b>x</b>"},
    "http.useragent": {"ua": AGENT},
    "image.proximatevoxels": {"x": 1, "y": 0, "z": 1},
    "image.readpixels": {"x": 1, "y": 0},
    "kmeans": {"embedding": {"x": 1, "y": 0.5}},
    "mongodb.query": {"query": '{"age": 30}'},
    "pooling": {"words": WORDS},
    "postgresql.query": {"n": 41},
    "probabilizer": {"score": 0.25},
    "script.apply": {"args": {"a": 1, "b": "x"}},
    "serial": {"x": 1, "y": 2.5},
    "sql.expression": {"x": 1.5, "y": 2, "t": "é"},
    "sql.query": {"x": 1},
    "statsTable.bagOfWords.posneg": {"words": WORDS},
    "statsTable.getCounts": {"keys": {"t": "hello friends"}},
    "stemmer": {"words": WORDS},
    "stemmerdoc": {"document": "les chats mangeaient"},
    "svd.embedRow": {"row": {"x": 0.5, "y": 1, "l": 1}},
    "svm": {"embedding": {"x": 1, "y": 0.5}},
    "tensorflow.graph": {"x": [1, 2, 3.5]},
    "tensorflow.op": {"x": [[1, 2], [3, 4]]},
    "tfidf": {"input": WORDS},
    "tokensplit": {"text": "whats up :P friend"},
    "tsne.embedRow": {"embedding": {"x": 1, "y": 0.5}},
}
ALWAYS_FAILS = {"tsne.embedRow"}
FIXED_INPUT = {  # refuse what they do not know
    "embedding.neighbors", "feature_hasher", "fetcher", "filter_stopwords", "gaussianclustering", "http.useragent",
    "image.proximatevoxels", "image.readpixels", "kmeans", "pooling", "stemmer", "stemmerdoc", "svd.embedRow", "svm",
    "tsne.embedRow",
}  # fmt: skip
IGNORE_MORE = {
    "classifier", "classifier.explain", "experimental.distTable.getStats", "html.parse", "probabilizer",
    "script.apply", "sql.expression", "sql.query", "statsTable.bagOfWords.posneg", "statsTable.getCounts", "tfidf",
    "tokensplit",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(
        tmp_path_factory.mktemp("server") / "data", "--fetch-private", environment={"PGUSER": "mldb"}
    )  # fmt: skip
    yield running
    running.stop()


@pytest.fixture(scope="module")
def ready(server, client):
    """Datasets, files, the plugin; the URL of the folder."""
    folder = server.data_dir.resolve()
    (folder / "file.bin").write_bytes(b"\x00abc")
    rows = [[name, [[column, value, 0] for column, value in cells.items()]] for name, cells in XOR.items()]
    record(client, "xor", "tabular", rows)
    texts = ("hello friends", "hello hello world", "the end", "hello friends")
    record(client, "texts", "tabular", [[f"t{n}", [["t", text, 0], ["n", n, 0]]] for n, text in enumerate(texts)])
    numbers = np.random.default_rng(0).normal(size=(3, 4)).tolist()
    vectors = [
        [word, [[str(at), number, 0] for at, number in enumerate(vector)]]
        for word, vector in zip(("hello", "friends", "world"), numbers, strict=True)
    ]
    record(client, "vectors", "embedding", vectors)
    params = {
        "trainingData": "SELECT tokenize(t, {splitChars: ' '}) AS * FROM texts",
        "outcomes": [["won", "n > 1"]], "statsTableFileUrl": f"file://{folder}/words.st",
    }  # fmt: skip
    make(client.put("/v1/procedures/words", json={"type": "statsTable.bagOfWords.train", "params": params}))
    source = {"main": "", "routes": ROUTES}
    make(client.put("/v1/plugins/asking", json={"type": "python", "params": {"source": source}}))
    return f"file://{folder}"


def record(client, name, type, rows):
    make(client.put(f"/v1/datasets/{name}", json={"type": type}))
    assert client.post(f"/v1/datasets/{name}/multirows", json=rows).is_success
    assert client.post(f"/v1/datasets/{name}/commit").is_success


def make(answer):
    assert answer.status_code == 201, answer.text


def placed(value, **places):
    """Parameters with their places filled in."""
    text = json.dumps(value)
    for name, place in places.items():
        text = text.replace("{" + name + "}", place)
    return json.loads(text)


@pytest.fixture
def function(request, server, client, ready):
    """The name of a function of a type and what it is asked; what it needs is made first."""
    type = request.param
    places = {"dir": ready}
    params = MADE.get(type, {})
    if type == "tensorflow.graph":  # it alone waits for TensorFlow to make graphs
        graph = request.getfixturevalue("graphs") / "dense.pb"
        (server.data_dir.resolve() / "dense.pb").write_bytes(graph.read_bytes())
    if type == "mongodb.query":
        places["mongodb"] = request.getfixturevalue("mongodb")
        with pymongo.MongoClient(places["mongodb"]) as mongo:
            people = mongo.get_default_database().people
            people.delete_many({})
            people.insert_one({"_id": "zoe", "age": 30, "home": {"town": "Québec"}})
    if type == "postgresql.query":
        place = request.getfixturevalue("postgresql")
        params = {**params, **place}
        psycopg.connect(host="localhost", port=place["port"], user="mldb", dbname="postgres").close()
    if type == "classifier.explain":
        train(client, "classifier", ready)
    if type in TRAINED:
        train(client, type, ready)
    else:
        make(client.put(f"/v1/functions/my {type}", json={"type": type, "params": placed(params, **places)}))
    return f"my {type}", placed(INPUTS[type], **places)


def train(client, type, folder):
    procedure, params = TRAINED[type]
    config = {"type": procedure, "params": {**placed(params, dir=folder), "functionName": f"my {type}"}}
    make(client.put(f"/v1/procedures/train-{type}", json=config))


def literal(value):
    """A JSON value in SQL."""
    match value:
        case dict():
            return "{" + ", ".join(f'{literal(item)} AS "{name}"' for name, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(literal, value)) + "]"
        case str():
            return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)


def flat(value, path=""):
    """JSON as cells by column; atoms that JSON has no word for are as the full format writes them."""
    if isinstance(value, dict) and not set(value) & {"blob", "ts", "interval", "num"}:
        return {
            name: cell
            for key, item in value.items()
            for name, cell in flat(item, f"{path}.{quoted(key)}" if path else quoted(key)).items()
        }
    if isinstance(value, list):
        return {name: cell for at, item in enumerate(value) for name, cell in flat(item, f"{path}.{at}").items()}
    return {} if value is None else {path: value}


def quoted(name):
    return '"' + name.replace('"', '""') + '"' if '"' in name or "." in name else name


def cells_of(answer):
    """The cells of the one row of a query in the full format."""
    (row,) = answer
    return {name: value for name, value, _ in row.get("columns", ()) if value is not None}


def test_every_type_is_tried():
    assert set(TRAINED) | set(MADE) == set(INPUTS) == set(BUILTIN_TYPES["function"])


@pytest.mark.parametrize("function", sorted(set(INPUTS) - ALWAYS_FAILS), indirect=True)
def test_same_answer(client, function):
    name, given = function
    path = f"/v1/functions/{name}"
    single = client.get_json(f"{path}/application", {"input": given, "outputFormat": "json"})
    assert single.status_code == 200, single.text
    expected = flat(single.json())
    assert expected
    batch = client.get_json(f"{path}/batch", {"input": [given, given]})
    assert [flat(one) for one in batch.json()] == [expected, expected]
    for argument in (literal(given), f"parse_json({literal(json.dumps(given))})"):
        if name == "my tensorflow.op" and argument.startswith("parse_json"):
            continue  # needs inputs of a known shape
        query = f'SELECT "{name}"({argument}) AS *'
        answer = client.get_json("/v1/query", {"q": query})
        assert answer.status_code == 200, answer.text
        assert cells_of(answer.json()) == expected
    asked = {"name": name, "input": given, "query": f'SELECT "{name}"({literal(given)}) AS *'}
    inside = client.post("/v1/plugins/asking/routes/ask", json=asked)
    assert inside.status_code == 200, inside.text
    answers = {way: json.loads(one["response"]) for way, one in inside.json().items()}
    assert flat(answers["application"]) == expected
    assert [flat(one) for one in answers["batch"]] == [expected]
    assert cells_of(answers["query"]) == expected


@pytest.mark.parametrize("function", sorted(FIXED_INPUT), indirect=True)
def test_a_fixed_input_takes_no_other_names(client, function):
    name, given = function
    given = given | {"odd": 1}
    for answer in (
        client.get_json(f"/v1/functions/{name}/application", {"input": given}),
        client.get_json(f"/v1/functions/{name}/batch", {"input": [given]}),
        client.get_json("/v1/query", {"q": f'SELECT "{name}"({literal(given)}) AS *'}),
    ):
        assert answer.status_code == 400, answer.text
        assert "Unknown field 'odd' extracting type " in answer.json()["error"]


@pytest.mark.parametrize("function", sorted(IGNORE_MORE), indirect=True)
def test_other_inputs_are_ignored(client, function):
    name, given = function
    path = f"/v1/functions/{name}/application"
    more = given | {"odd": 1}
    alone, beside = (client.get_json(path, {"input": one, "outputFormat": "json"}) for one in (given, more))
    assert beside.status_code == 200, beside.text
    assert beside.json() == alone.json()
    queries = (f'SELECT "{name}"({literal(one)}) AS *' for one in (given, more))
    alone, beside = (client.get_json("/v1/query", {"q": query}) for query in queries)
    assert beside.status_code == 200, beside.text
    assert cells_of(beside.json()) == cells_of(alone.json())


def test_a_row_that_a_function_gives_may_be_empty(client, ready):
    """It is a row all the same: over REST, in SELECT and to aggregates."""
    make(client.put("/v1/functions/stop", json={"type": "filter_stopwords"}))
    asked = {"input": {"words": {"the": 1}}}
    assert client.get_json("/v1/functions/stop/application", asked).json() == {"output": {"words": []}}
    asked["outputFormat"] = "json"
    assert client.get_json("/v1/functions/stop/application", asked).json() == {"words": {}}
    assert client.get_json("/v1/functions/stop/batch", {"input": [asked["input"]]}).json() == [{"words": {}}]
    (output,) = client.get_json("/v1/functions/stop/info", {}).json()["output"]["knownColumns"]
    assert (output["columnName"], output["valueInfo"]["kind"]) == ("words", "row")
    words = "stop({words: tokenize(t, {splitChars: ' '})})[words]"
    assert client.query(f"SELECT {words} AS w FROM texts WHERE n = 2") == [["_rowName", "w.end"], ["t2", 1]]
    make(client.put("/v1/datasets/few", json={"type": "sparse.mutable"}))
    rows = [["a", [["t", "the", 0]]], ["b", [["t", "the cat", 0], ["g", 1, 0]]]]
    assert client.post("/v1/datasets/few/multirows", json=rows).is_success
    table = client.query(f"SELECT {words} AS w, {words} IS NULL AS none FROM few ORDER BY rowName()")
    assert table == [["_rowName", "none", "w.cat"], ["a", 0, None], ["b", 0, 1]]
    assert client.query(f"SELECT sum({words}) AS * FROM few GROUP BY g") == [
        ["_rowName", "cat"], ["[null]", None], ["[1]", 1],
    ]  # fmt: skip
    assert client.query(f"SELECT sum({words}) AS s FROM few WHERE rowName() = 'a'") == [["_rowName"], ["[]"]]


def test_a_query_without_rows_gives_nothing(client, ready):
    query = "SELECT t, n FROM texts WHERE n = $n"
    make(client.put("/v1/functions/text_of", json={"type": "sql.query", "params": {"query": query}}))
    answers = client.get_json("/v1/functions/text_of/batch", {"input": [{"n": 2}, {"n": 77}]})
    assert answers.json() == [{"n": 2, "t": "the end"}, {}]
    asked = {"input": {"n": 77}}
    assert client.get_json("/v1/functions/text_of/application", asked).json() == {"output": {}}
    asked["keepValues"] = ["t"]
    assert client.get_json("/v1/functions/text_of/application", asked).json() == {"output": {"t": None}}
    assert client.query("SELECT text_of({n: 77}) AS *") == [["_rowName"], ["result"]]
    assert client.query("SELECT text_of({n: 77})[t] AS t") == [["_rowName", "t"], ["result", None]]
    rows = client.get_json(
        "/v1/query", {"q": "SELECT text_of({n: n + 2})[{t}] AS * FROM texts ORDER BY rowName()"}
    ).json()
    assert [len(row.get("columns", ())) for row in rows] == [1, 1, 1, 1]
    rows = client.get_json("/v1/query", {"q": "SELECT text_of({n: n + 2}) AS * FROM texts ORDER BY rowName()"}).json()
    assert [len(row.get("columns", ())) for row in rows] == [2, 2, 0, 0]
    named = {"query": "SELECT t AS column, n AS value FROM texts WHERE n = $n", "output": "NAMED_COLUMNS"}
    make(client.put("/v1/functions/named_texts", json={"type": "sql.query", "params": named}))
    asked = {"input": {"n": 77}}
    assert client.get_json("/v1/functions/named_texts/application", asked).json() == {"output": {"output": []}}


def test_an_empty_row_is_an_input_that_is_there(client, ready):
    params = {"expression": "horizontal_count(row) AS n, row AS *"}
    make(client.put("/v1/functions/count_of", json={"type": "sql.expression", "params": params}))
    for given in ("{row: {}}", "{row: {nope*}}", "{{t* EXCLUDING (t)} AS row}"):
        table = client.query(f"SELECT count_of({given}) AS * FROM texts LIMIT 1")
        assert table == [["_rowName", "n"], ["t0", 0]]


def test_a_row_lacks_what_the_first_row_of_a_query_lacks(client):
    make(client.put("/v1/datasets/holes", json={"type": "sparse.mutable"}))
    rows = [["a", [["x", 1, 0], ["z", None, 0]]], ["b", [["x", 2, 0], ["y", 3, 0]]]]
    assert client.post("/v1/datasets/holes/multirows", json=rows).is_success
    params = {"query": "SELECT * FROM holes WHERE rowName() = $r"}
    make(client.put("/v1/functions/row_of", json={"type": "sql.query", "params": params}))
    answers = client.get_json("/v1/functions/row_of/batch", {"input": [{"r": "a"}, {"r": "b"}]})
    assert answers.json() == [{"x": 1, "z": None}, {"x": 2, "y": 3}]


def test_the_one_input_may_be_passed_bare(client):
    params = {"expression": "horizontal_sum(row)", "raw": True, "autoInput": True}
    client.must("PUT", "/v1/functions/bare", {"type": "sql.expression", "params": params})
    given = [[1, 2, 3], {"a": 4, "b": 5}, {"row": [6, 1]}, [], None]
    assert client.get_json("/v1/functions/bare/batch", {"input": given}).json() == [6, 9, 7, 0, 0]
    assert client.get_json("/v1/functions/bare/batch", {"input": {"q": [2, 2]}}).json() == {"q": 4}
    for one, expected in zip(given[:3], (6, 9, 7), strict=True):
        asked = {"input": one, "outputFormat": "json"}
        assert client.get_json("/v1/functions/bare/application", asked).json() == expected
        assert client.query(f"SELECT bare({literal(one)}) AS n")[1] == ["result", expected]


def test_a_null_as_the_only_input(client):
    params = {"expression": "horizontal_sum(x) AS s"}
    client.must("PUT", "/v1/functions/sum_of_null", {"type": "sql.expression", "params": params})
    for given in (None, [], {}):
        answer = client.get_json("/v1/functions/sum_of_null/application", {"input": {"x": given}})
        assert answer.json() == {"output": {"s": 0}}


@pytest.mark.parametrize("function", sorted(ALWAYS_FAILS), indirect=True)
def test_same_error(client, function):
    name, given = function
    asked = {"name": name, "input": given, "query": f'SELECT "{name}"({literal(given)}) AS *'}
    inside = client.post("/v1/plugins/asking/routes/ask", json=asked).json()
    answers = [
        client.get_json(f"/v1/functions/{name}/application", {"input": given}),
        client.get_json(f"/v1/functions/{name}/batch", {"input": [given]}),
        client.get_json("/v1/query", {"q": asked["query"]}),
    ]
    texts = [one.json()["error"] for one in answers]
    texts += [json.loads(one["response"])["error"] for one in inside.values()]
    assert len(texts) == 6
    assert all("t-SNE Embed apply function is not yet implemented" in text for text in texts)
