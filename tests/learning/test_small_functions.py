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
    assert "no list of stop words for the language 'klingon'" in refusal(client, "filter_stopwords", language="klingon")


def test_pixels(client):
    function(client, "pixel", "image.readpixels", expression="[[1, 2, 3], [4, 5, 6]]")
    assert apply(client, "pixel", x=1, y=2) == {"value": 6}
    assert client.query("SELECT pixel({x: 0, y: 1})[value] AS v")[1][1] == 2
    assert "(2, 0) is not within the array of 2 × 3" in failure(client, "pixel", x=2, y=0)
    assert "(0, -1) is not within" in failure(client, "pixel", x=0, y=-1)
    assert "'x' must be a whole number, not 0.5" in failure(client, "pixel", x=0.5, y=0)
    assert "'y' must be a whole number, not None" in failure(client, "pixel", x=0, y=None)
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
