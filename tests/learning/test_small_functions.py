"""Stop words, parts of arrays, HTML and chains of functions, over REST."""

from __future__ import annotations

import pytest


def function(client, name, type, **params):
    answer = client.put(f"/v1/functions/{name}", json={"type": type, "params": params})
    assert answer.status_code == 201, answer.text


def refusal(client, type, **params):
    answer = client.put("/v1/functions/refused", json={"type": type, "params": params})
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def apply(client, name, **given):
    answer = client.get_json(f"/v1/functions/{name}/application", {"input": given, "outputFormat": "json"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def failure(client, name, **given):
    answer = client.get_json(f"/v1/functions/{name}/application", {"input": given})
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_stop_words(client):
    function(client, "stop", "filter_stopwords")
    given = {"I": 1, "The": 2, "cat": 3, "you'll": 1, "été": 1, "zero": 4, "a.b": 1}
    assert apply(client, "stop", words=given) == {"words": {"I": 1, "cat": 3, "été": 1, "a.b": 1}}
    head, row = client.query(
        "SELECT stop({words: tokenize('to be or not to be the cat', {splitChars: ' '})})[words] AS *"
    )
    assert (head[1:], row[1:]) == (["cat"], [1])
    assert "Unsupported language: klingon" in refusal(client, "filter_stopwords", language="klingon")


def test_pixels(client):
    function(client, "pixel", "image.readpixels", expression="[[1, 2, 3], [4, 5, 6]]")
    assert apply(client, "pixel", x=1, y=2) == {"value": 6}
    assert client.query("SELECT pixel({x: 0, y: 1})[value] AS v")[1][1] == 2
    assert "(2, 0) is not within the array of 2 × 3" in failure(client, "pixel", x=2, y=0)
    assert "(0, -1) is not within" in failure(client, "pixel", x=0, y=-1)
    assert "'x' must be a whole number, not 0.5" in failure(client, "pixel", x=0.5, y=0)
    assert "'y' must be a whole number, not null" in failure(client, "pixel", x=0, y=None)
    for value, shown in (({"num": "Inf"}, "inf"), ({"num": "NaN"}, "nan"), ({"ts": 0}, "1970-01-01T00:00:00Z")):
        assert f"'x' must be a whole number, not {shown}" in failure(client, "pixel", x=value, y=0)
    assert "The input 'x' must be a single number, not an embedding" in failure(client, "pixel", x=[1], y=0)
    assert "(1e300, 0) is not within" in failure(client, "pixel", x=1e300, y=0)
    function(client, "colour", "image.readpixels", expression="[[[1, 2], [3, 4]]]")
    assert apply(client, "colour", x=0, y=1) == {"value": [3, 4]}


def test_voxels(client):
    cube = [[[100 * x + 10 * y + z for z in range(4)] for y in range(4)] for x in range(4)]
    function(client, "voxels", "image.proximatevoxels", expression=str(cube), range=1)
    expected = [[[100 * x + 10 * y + z for z in range(3)] for y in range(3)] for x in range(3)]
    assert apply(client, "voxels", x=1, y=1, z=1) == {"value": expected}
    assert "with 1 on each side is not within the array of 4 × 4 × 4" in failure(client, "voxels", x=3, y=1, z=1)
    function(client, "one", "image.proximatevoxels", expression=str(cube), range=0)
    assert apply(client, "one", x=3, y=2, z=1) == {"value": [[[321]]]}
    text = refusal(client, "image.proximatevoxels", expression=str(cube), range=10**9)
    assert text == "A cube that reaches 1000000000 on each side does not fit into the array of 4 × 4 × 4"


def test_a_row_is_no_single_value_and_an_empty_one_is_a_row(client):
    for type_ in ("stemmer", "filter_stopwords"):
        function(client, "words", type_)
        assert failure(client, "words", words="cats") == "The input 'words' must be a row, not a single value"
        answer = client.get_json("/v1/query", {"q": "SELECT words({words: 'cats'}) AS *"})
        assert "must be a row" in answer.json()["error"]
        for nothing in ({}, [], None, {"a": {}}):
            assert apply(client, "words", words=nothing) == {"words": {}}
    function(client, "parse", "html.parse")
    assert failure(client, "parse", text=[1, 2]) == "The input 'text' must be a single text, not an embedding"
    assert "text Aé" in apply(client, "parse", text={"blob": ["Aé"]})["output"]


def test_hashes_do_not_tell_how_a_number_was_written(client):
    function(client, "hasher", "feature_hasher", mode="columnsAndValues")
    rows = client.query("SELECT hasher({columns: {a: 1}}) AS h, hasher({columns: {a: 2 / 2.0}}) AS g", "aos")[0]
    assert [rows[name] for name in rows if name.startswith("h.")] == [
        rows[name] for name in rows if name.startswith("g.")
    ]


@pytest.mark.parametrize("expression", ["[1, 2]", "1", "{a: 1}", "NULL"])
def test_what_is_no_picture(client, expression):
    assert "must give an embedding of at least 2 dimensions" in refusal(
        client, "image.readpixels", expression=expression
    )


def test_html(client):
    function(client, "parse", "html.parse")
    text = "<p class='x'>Bonjour <b>été</b> fin<!-- note --><br>x"
    assert apply(client, "parse", text=text)["output"].splitlines() == [
        "start html", "  start body", '    start p class="x"', "      text Bonjour", "      start b",
        "        text été",
        "      end b", "      text fin", "      comment note", "      start br", "      end br", "      text x",
        "    end p", "  end body", "end html",
    ]  # fmt: skip
    assert apply(client, "parse", text="") == {"output": ""}
    deep = apply(client, "parse", text="<i>" * 300)["output"]
    assert deep.count("start i") > 200


STEPS = [
    {"name": "sum", "type": "sql.expression", "params": {"expression": "a + b AS z"}, "with": "x AS a, y AS b"},
    {"name": "double", "type": "sql.expression", "params": {"expression": "v * 2 AS r"}, "with": "z AS v"},
]


def test_two_steps(client):
    function(client, "chain", "serial", steps=STEPS)
    assert apply(client, "chain", x=1, y=2) == {"z": 3, "r": 6}
    assert client.query("SELECT chain({x: 1, y: 2}) AS *") == [["_rowName", "r", "z"], ["result", 6, 3]]
    many = client.get_json("/v1/functions/chain/batch", {"input": [{"x": 1, "y": 2}, {"x": 5, "y": 5}]})
    assert many.json() == [{"z": 3, "r": 6}, {"z": 10, "r": 20}]


def test_steps_by_id_and_what_is_kept_of_them(client):
    function(client, "inner", "sql.expression", expression="n + 1 AS n, n * 10 AS ten")
    function(client, "counting", "serial", steps=[{"id": "inner", "extract": "n"}, {"id": "inner"}])
    assert apply(client, "counting", n=1) == {"n": 3, "ten": 20}
    function(client, "stopchain", "filter_stopwords")
    steps = [{"id": "stopchain"}, {"type": "stemmer", "params": {}, "extract": "words AS stems"}]
    function(client, "words", "serial", steps=steps)
    assert apply(client, "words", words={"the": 1, "cats": 2}) == {"words": {"cats": 2}, "stems": {"cat": 2}}


def test_functions_of_a_chain_go_with_it(client):
    before = set(client.get("/v1/functions").json())
    function(client, "short", "serial", steps=STEPS)
    assert len(set(client.get("/v1/functions").json()) - before) == 3
    client.delete("/v1/functions/short")
    assert set(client.get("/v1/functions").json()) == before


def test_a_chain_survives_a_restart(start_server, tmp_path):
    running = start_server()
    with running.client() as client:
        function(client, "chain", "serial", steps=STEPS)
        count = len(client.get("/v1/functions").json())
    running.kill()
    with start_server(data_dir=running.data_dir).client() as client:
        assert apply(client, "chain", x=1, y=2) == {"z": 3, "r": 6}
        assert len(client.get("/v1/functions").json()) == count


def test_broken_chains(client):
    assert "there is no 'nobody'" in refusal(client, "serial", steps=[{"id": "nobody"}])
    assert "steps" in refusal(client, "serial", steps=[])
    function(client, "needs", "serial", steps=[{"type": "stemmer"}])
    assert "needs a row 'words'" in failure(client, "needs", x=1)
