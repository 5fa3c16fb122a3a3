"""Routes that ``main.py`` declares by a decorator: what they take and answer, and what the API reference shows."""

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

MAIN = '''
from mldb import mldb

@mldb.plugin.route("GET", "/items/{name}")
def item(name: str, count: int = 1, tags: list = (), whole: bool = False):
    """One item.

    More of it.
    """
    print("an item was asked for")
    return {"name": name, "count": count, "tags": list(tags), "whole": whole}

@mldb.plugin.route("POST", "/items", summary="Make an item")
def make(request, price: float, note=None):
    request.set_return({"price": price, "note": note}, 201)

@mldb.plugin.route("GET", "/nothing")
def nothing():
    pass

@mldb.plugin.route("GET", "/absent/{name}")
def absent(request, name):
    from mldb import HTTPException
    request.set_return("half an answer")
    raise HTTPException(404, f"there is no {name}", known=["a", "b"])

@mldb.plugin.route("GET", "/breaks")
def breaks():
    return 1 / 0

@mldb.plugin.route("GET", "/größe in m:s/{name}")
def size(name):
    return name

@mldb.plugin.route("GET", "/file")
def file(request):
    request.send_file(b"abc", "text/plain")

@mldb.plugin.route("GET", "/typed")
def typed(count: int | None = None, share: float = 0.0, more: dict = None):
    return [count, share, more]

@mldb.plugin.route("GET", "/later/{name}")
async def later(name):
    import asyncio
    await asyncio.sleep(0)
    return name

@mldb.plugin.route("POST", "/form")
def form(name: str, price: float, note: str = "none", count: int | None = None):
    return {"name": name, "price": price, "note": note, "count": count}

@mldb.plugin.route("GET", "/ends/{code}")
def ends(request, code: int):
    import sys
    request.set_return("answered", 201)
    sys.exit(code)
'''
ROUTES = "request.set_return('by routes.py')"


@pytest.fixture(scope="module")
def ask(client):
    source = {"main": MAIN, "routes": ROUTES}
    client.must("PUT", "/v1/plugins/declares", {"type": "python", "params": {"source": source}})

    def ask(verb, path, **options):
        return client.request(verb, f"/v1/plugins/declares/routes{path}", **options)

    return ask


def test_arguments_come_from_the_fields_of_a_form(ask):
    sent = {"name": "Käse & Brot", "price": "2.5", "note": "", "count": ""}
    assert ask("POST", "/form", data=sent).json() == {"name": "Käse & Brot", "price": 2.5, "note": "", "count": None}
    empty = ask("POST", "/form", data=sent | {"price": ""})
    assert (empty.status_code, empty.json()["error"]) == (400, "'price' is missing")
    assert ask("POST", "/form", data=sent | {"price": "x"}).json()["error"] == "'price' is a number, not x"


def test_arguments_come_from_path_query_and_body(ask):
    assert ask("GET", "/items/a%2Fb%20%C3%BC", params={"count": "3", "tags": '["x"]', "whole": "true"}).json() == {
        "name": "a/b ü", "count": 3, "tags": ["x"], "whole": True,
    }  # fmt: skip
    made = ask("POST", "/items", json={"price": 2, "note": {"a": [1]}})
    assert (made.status_code, made.json()) == (201, {"price": 2, "note": {"a": [1]}})
    assert ask("GET", "/nothing").json() is None
    assert ask("GET", "/file").content == b"abc"
    for path in ("/größe in m:s/a", "/gr%C3%B6%c3%9fe%20in%20m%3As/%61"):
        assert ask("GET", path).json() == "a"
    assert ask("GET", "/typed", params={"count": "-3", "share": "1e3"}).json() == [-3, 1000.0, None]
    assert ask("GET", "/later/a").json() == "a"
    ended = ask("GET", "/ends/0")
    assert (ended.status_code, ended.json()) == (201, "answered")
    assert ask("GET", "/ends/3").json()["exception"]["type"] == "SystemExit"
    assert ask("GET", "/other").json() == ask("POST", "/items/x").json() == "by routes.py"


@pytest.mark.parametrize(
    ("verb", "path", "options", "error"),
    [
        ("GET", "/items/a", {"params": {"count": "many"}}, "'count' is an integer, not many"),
        ("GET", "/items/a", {"params": {"whole": "maybe"}}, "'whole' is true or false, not maybe"),
        ("GET", "/items/a", {"params": {"tags": "{}"}}, "'tags' is an array, not {}"),
        ("POST", "/items", {"json": {}}, "'price' is missing"),
        ("POST", "/items", {"json": {"price": True}}, "'price' is a number, not true"),
        ("POST", "/items", {"json": [1]}, "the body is a JSON object with the arguments as members"),
        ("POST", "/items", {"content": b"{"}, "the body is no JSON"),
        ("POST", "/items", {"content": b"[" * 100_000}, "the body is no JSON: it is nested too deeply"),
        ("POST", "/items", {"content": b'{"price": NaN}'}, "the body is no JSON: NaN is no JSON"),
        ("GET", "/typed", {"params": {"count": "1_000"}}, "'count' is an integer, not 1_000"),
        ("GET", "/typed", {"params": {"count": " 1"}}, "'count' is an integer, not  1"),
        ("GET", "/typed", {"params": {"count": "٣"}}, "'count' is an integer, not ٣"),
        ("GET", "/typed", {"params": {"share": "nan"}}, "'share' is a number, not nan"),
        ("GET", "/typed", {"params": {"share": "1_0"}}, "'share' is a number, not 1_0"),
        ("GET", "/typed", {"params": {"more": '{"a":' * 2000}}, "'more' is an object, not"),
    ],
)
def test_wrong_arguments_are_told(ask, verb, path, options, error):
    answer = ask(verb, path, **options)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)
    assert answer.json()["httpCode"] == 400


def test_an_error_that_is_raised_as_such_is_the_answer(ask, client):
    answer = ask("GET", "/absent/ü")
    body = {"error": "there is no ü", "httpCode": 404, "known": ["a", "b"]}
    assert (answer.status_code, answer.json()) == (404, body)
    assert "there is no ü" not in client.get("/logs/mldb", headers={"accept": "text/plain"}).text


def test_what_a_function_raises_is_told_with_its_line(ask):
    answer = ask("GET", "/breaks")
    assert answer.status_code == 400
    assert answer.json()["exception"]["message"] == "division by zero"


def test_declared_routes_are_in_the_reference(ask, client):
    document = client.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    paths = {path.partition("/routes")[2]: item for path, item in document["paths"].items() if "/declares/" in path}
    assert sorted(paths) == [
        "/absent/{name}", "/breaks", "/ends/{code}", "/file", "/form", "/größe in m:s/{name}", "/items",
        "/items/{name}", "/later/{name}", "/nothing", "/typed",
    ]  # fmt: skip
    item = paths["/items/{name}"]["get"]
    assert (item["summary"], item["x-mldb-source"]) == ("One item.", "declared")
    assert [(each["name"], each["in"], each["required"], each["schema"]) for each in item["parameters"]] == [
        ("name", "path", True, {"type": "string"}),
        ("count", "query", False, {"type": "integer"}),
        ("tags", "query", False, {"type": "array"}),
        ("whole", "query", False, {"type": "boolean"}),
    ]
    body = paths["/items"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"type": "object", "properties": {"price": {"type": "number"}, "note": {}}, "required": ["price"]}


def test_log_lines_of_a_worker_tell_their_request(ask, client):
    ask("GET", "/items/a", headers={"x-request-id": "of-this-one"})
    lines = client.get("/logs/mldb", params={"format": "jsonl", "q": "an item was asked for"}).text.splitlines()
    assert json.loads(lines[-1])["request"] == "of-this-one"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('mldb.plugin.route("PATCH", "/x")(print)', "'PATCH' is not one of"),
        ('mldb.plugin.route("GET", "x")(print)', "does not begin with /"),
        ('mldb.plugin.route("GET", "/" + 200 * "x")(print)', "has more than 200 characters"),
        ('mldb.plugin.route("GET", "/{a}")(lambda b: b)', "takes no 'a'"),
        ('mldb.plugin.route("GET", "/{a}/{a}")(lambda a: a)', "names {a} twice"),
        ('mldb.plugin.route("GET", "/{a}")(lambda a, /: a)', "takes no 'a'"),
        ('mldb.plugin.route("GET", "/x")(lambda: 1); mldb.plugin.route("GET", "/x")(lambda: 1)', "is declared already"),
    ],
)
def test_what_is_no_route_fails_where_it_stands(client, line, error):
    source = {"main": f"from mldb import mldb\n{line}", "routes": ""}
    answer = client.put("/v1/plugins/wrong", json={"type": "python", "params": {"source": source}})
    assert answer.status_code == 400
    assert error in answer.text
    assert answer.json()["details"]["exception"]["lineNumber"] == 2
