"""tf-idf, stems, token splitting, feature hashing, pooling and user agents over REST."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from server.learning.tfidf import count_documents
from server.learning.tokensplit import splitter
from server.values.batches import Cell, Column, RowBatch, RowType
from server.values.cells import any_array, cells_array
from server.values.cityhash import hash_path
from server.values.kinds import Kind
from server.values.siphash import sip_hashes


@pytest.fixture(scope="module")
def data_dir(server):
    return server.data_dir.resolve()


def test_documents_are_counted_once_for_each_term_that_they_have():
    """Known columns, the elements of embeddings and the open rest, in several batches."""
    first = RowBatch(
        RowType((Column(("a",), Kind.ANY), Column(("e",), Kind.NUMBER, (2,))), open=True), 3,
        [any_array(["x", None, 0]), pa.array([[1.0, 2.0], None, [None, 4.0]], pa.list_(pa.float64()))],
        rest=cells_array([[Cell(("a",), 1), Cell(("b", "c"), "y")], [Cell(("b", "c"), None)], []]),
    )  # fmt: skip
    second = RowBatch(RowType((), open=True), 1, [], rest=cells_array([[Cell(("b", "c"), 1), Cell(("b", "c"), 2)]]))
    found = count_documents([first, second])
    assert found.documents == 4
    assert found.terms == {"a": 2, "e.0": 1, "e.1": 2, "b.c": 2}


def function(client, name, type, **params):
    return client.put(f"/v1/functions/{name}", json={"type": type, "params": params})


def row(client, query):
    head, *rows = client.query(query)
    return next(dict(zip(head[1:], values[1:], strict=True)) for values in rows)


@pytest.fixture(scope="module")
def corpus(client, data_dir):
    client.put("/v1/datasets/docs", json={"type": "sparse.mutable"})
    texts = ("peanut butter jelly", "peanut butter jelly time time", "this is the jelly song")
    client.post("/v1/datasets/docs/multirows", json=[[f"d{n}", [["t", text, 0]]] for n, text in enumerate(texts)])
    client.post("/v1/datasets/docs/commit")
    params = {
        "trainingData": "SELECT tokenize(t, {splitChars: ' '}) AS * FROM docs",
        "outputDataset": "df",
        "modelFileUrl": f"file://{data_dir}/docs.idf",
        "functionName": "ti",
    }
    answer = client.put("/v1/procedures/idf", json={"type": "tfidf.train", "params": params})
    assert answer.status_code == 201, answer.text
    return client


def test_document_frequencies(corpus):
    found = dict(corpus.query("SELECT count FROM df")[1:])
    assert found == {"peanut": 2, "butter": 2, "jelly": 3, "time": 1, "this": 1, "is": 1, "the": 1, "song": 1}


@pytest.mark.parametrize(
    ("tf", "idf", "expected"),
    [
        ("raw", "inverseSmooth", {"jelly": 2 * math.log(1 + 3 / 4), "time": math.log(1 + 3 / 2), "new": math.log(4)}),
        ("raw", "inverse", {"jelly": 2 * math.log(3 / 4), "time": math.log(3 / 2), "new": math.log(3)}),
        ("log", "unary", {"jelly": math.log(3), "time": math.log(2), "new": math.log(2)}),
        ("augmented", "inverseMax", {"jelly": math.log(1.75), "time": 0.75 * math.log(2.5), "new": 0.75 * math.log(4)}),
        ("raw", "probabilisticInverse", {"jelly": -math.inf, "time": 0.0, "new": math.log(3)}),
    ],
)
def test_scores(corpus, data_dir, tf, idf, expected):
    answer = function(corpus, "scores", "tfidf", modelFileUrl=f"file://{data_dir}/docs.idf", tfType=tf, idfType=idf)
    assert answer.status_code == 201, answer.text
    found = row(corpus, "SELECT scores({input: {jelly: 2, time: 1, new: 1}})[output] AS *")
    assert {name: float(str(value).replace("Infinity", "inf")) for name, value in found.items()} == pytest.approx(
        expected
    )


def test_stems(client):
    assert function(client, "stem", "stemmer").status_code == 201
    found = row(
        client, "SELECT stem({words: {2 AS potato, 3 AS potatoes, true AS carrot, 'oui' AS carrots, 1 AS I}}) AS *"
    )
    assert found == {"words.potato": 5, "words.carrot": 2, "words.I": 1}
    assert function(client, "stemfr", "stemmerdoc", language="french").status_code == 201
    found = row(client, "SELECT stemfr({document: 'Je aimé aimer François'}) AS *, stemfr({document: null}) AS n")
    assert found == {"document": "Je aim aim François", "n.document": None}
    # As MLDB's libstemmer does: elisions stay.
    found = row(client, "SELECT stemfr({document: 'aujourd''hui l''homme qu''elle'}) AS *")
    assert found == {"document": "aujourd'hui l'homm qu'el"}
    assert function(client, "stemnl", "stemmerdoc", language="dutch").status_code == 201
    assert row(client, "SELECT stemnl({document: 'lichamelijk huizen'}) AS *") == {"document": "licham huiz"}
    for type in ("stemmer", "stemmerdoc"):
        refused = function(client, "bad", type, language="klingon")
        assert refused.status_code == 400
        assert refused.json()["error"] == "language 'klingon' not available for stemming in encoding 'utf8'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:)b", "a :) b"),
        (":):)", ":) :)"),
        (":)) x", ":)) x"),
        ("x,:),y :)", "x,:),y :)"),
        (":):))z", ":) :)) z"),
        ("", ""),
        ("nothing", "nothing"),
    ],
)
def test_tokens_are_set_apart(text, expected):
    assert splitter([":)", ":))", ""], " ,", " ")(text) == expected


def test_text_without_tokens_is_left_alone():
    assert splitter([], " ", "-")("a:)b") == "a:)b"
    assert splitter([":)"], " ", "-")("a:):)b") == "a-:)-:)-b"


def test_tokensplit_over_rest(client):
    answer = function(
        client, "smileys", "tokensplit", tokens="SELECT ':P', '(>_<)'", splitchars=" ", splitcharToInsert="_"
    )
    assert answer.status_code == 201, answer.text
    assert row(client, "SELECT smileys({text: 'so:P (>_<)'}) AS *") == {"output": "so_:P (>_<)"}


def test_feature_hasher(client):
    for name, mode in (("names", "columns"), ("values", "columnsAndValues")):
        assert function(client, name, "feature_hasher", numBits=2, mode=mode).status_code == 201
    one, other = (
        "SELECT names({columns: {a: 1, b: 2}})[hash] AS *",
        "SELECT names({columns: {a: 3, b: 'x'}})[hash] AS *",
    )
    found = row(client, one)
    assert list(found) == ["hashColumn0", "hashColumn1", "hashColumn2", "hashColumn3"]
    assert found == row(client, other)
    assert sum(found.values()) == 0  # as many +1 as -1: 32 slices of each hash
    assert row(client, one.replace("names", "values")) != row(client, other.replace("names", "values"))
    assert function(client, "bad", "feature_hasher", numBits=0).status_code == 400


def test_hashes_are_as_new_as_what_was_hashed(client):
    client.put("/v1/datasets/dated", json={"type": "sparse.mutable"})
    rows = [["r", [["a", 1, 0], ["b", 2, "2020-01-01T00:00:00Z"]]], ["s", [["a", 1, 0]]]]
    client.post("/v1/datasets/dated/multirows", json=rows)
    client.post("/v1/datasets/dated/commit")
    for mode in ("columns", "columnsAndValues"):
        function(client, "dated_hash", "feature_hasher", numBits=1, mode=mode)
        query = "SELECT dated_hash({columns: {*}})[hash] AS * FROM dated ORDER BY rowName()"
        found = client.get_json("/v1/query", {"q": query}).json()
        times = [{time for _, _, time in each["columns"]} for each in found]
        assert times == [{"2020-01-01T00:00:00Z"}, {"1970-01-01T00:00:00Z"}]


def test_the_last_slice_of_a_hash_may_be_short(client):
    def slices(hash_, bits):  # as MLDB cuts: from bit 0, 5, 10, … 60
        vector = [0] * (1 << bits)
        for number, bit in enumerate(range(0, 64, bits)):
            vector[hash_ >> bit & (1 << bits) - 1] += -1 if number % 2 else 1
        return vector

    function(client, "five", "feature_hasher", numBits=5)
    for columns in ("{a: 1}", "{a: {b: 1, c: 2}}"):
        found = row(client, f"SELECT five({{columns: {columns}}})[hash] AS *")
        assert list(found.values()) == slices(hash_path(("a",)), 5)
    function(client, "five", "feature_hasher", numBits=5, mode="columnsAndValues")
    hash_ = int(sip_hashes([b"a.b::x"], (0x1958DF94340E7CBA, 0x8928FC8B84A0))[0])
    found = row(client, """SELECT five({columns: {'x' AS "a.b"}})[hash] AS *""")
    assert list(found.values()) == slices(hash_, 5)


def test_pooling(client):
    client.put("/v1/datasets/vectors", json={"type": "embedding"})
    rows = [["hello", [["x", 0, 0], ["y", 1, 0]]], ["friend", [["x", 1, 0], ["y", 0.5, 0]]]]
    client.post("/v1/datasets/vectors/multirows", json=rows)
    client.post("/v1/datasets/vectors/commit")
    answer = function(client, "pool", "pooling", embeddingDataset="vectors", aggregators=["avg", "max"])
    assert answer.status_code == 201, answer.text
    found = row(client, "SELECT pool({words: {hello: 5, friend: 1, unknown: 1}})[embedding] AS v")
    assert list(found.values()) == [0.5, 0.75, 1, 1]
    assert list(row(client, "SELECT pool({words: {unknown: 1}})[embedding] AS v").values()) == [0, 0, 0, 0]
    refused = function(client, "bad", "pooling", embeddingDataset="vectors", aggregators=["median"])
    assert refused.json()["error"] == "Unknown aggregator: median"


IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 5_1_1 like Mac OS X) AppleWebKit/534.46 (KHTML, like Gecko) "
    "Version/5.1 Mobile/9B206 Safari/7534.48.3"
)


def test_user_agents(client, data_dir):
    assert function(client, "agent", "http.useragent").status_code == 201
    expected = {
        "browser.family": "Mobile Safari", "browser.version": "5.1.0", "device.brand": "Apple",
        "device.model": "iPhone", "isSpider": 0, "os.family": "iOS", "os.version": "5.1.1",
    }  # fmt: skip
    assert row(client, f"SELECT agent({{ua: '{IPHONE}'}}) AS *") == expected
    assert row(client, "SELECT agent({ua: 'Googlebot/2.1 (+http://www.google.com/bot.html)'})[isSpider] AS s") == {
        "s": 1
    }
    assert set(row(client, "SELECT agent({ua: NULL}) AS *").values()) == {None}
    (data_dir / "own.yaml").write_text(
        "user_agent_parsers: [{regex: '(Ours)/(\\d+)'}]\nos_parsers: []\ndevice_parsers: []\n"
    )
    assert function(client, "own", "http.useragent", regexFile=f"file://{data_dir}/own.yaml").status_code == 201
    found = row(client, "SELECT own({ua: 'Ours/7'}) AS *")
    assert (found["browser.family"], found["browser.version"]) == ("Ours", "7.0.0")
    (data_dir / "bad.yaml").write_text("user_agent_parsers: [{regex: '('}]\n")
    assert function(client, "bad", "http.useragent", regexFile=f"file://{data_dir}/bad.yaml").status_code == 400
