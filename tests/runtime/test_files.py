"""Files as answers of routes.py: what arrives over HTTP, and what cannot be smuggled into the headers."""

import pytest

from runtime.files import File

FILES = {
    "plain": ("b'a,b\\n1,2\\n'", "text/csv; charset=utf-8", "table.csv"),
    "shown": ("b'\\x89PNG'", "image/png", ""),
    "bytes": ("bytearray(range(256))", "application/octet-stream", "all bytes.bin"),
    "unicode": ("b''", "application/zip", "modèle «日本» 🙂.zip"),
    "surrogate": ("b'x'", "application/zip", "a\ud800b.zip"),
    "injected": ("b'x'", "text/plain", 'a"\r\nSet-Cookie: b=c\r\n\r\n/../<b>;.txt'),
    "percent": ("b'x'", "text/plain", "100%41.txt"),
    "long": ("b'x'", "text/plain", "n" * 10_000),
}
ROUTES = f"""
from mldb import mldb
FILES = {FILES!a}
content, content_type, name = FILES[request.remaining[1:]]
request.set_return("replaced by the file")
request.send_file(eval(content), content_type, name)
"""
# Frames that no shim writes: a worker may be in the hands of whoever wrote the plugin.
FORGED = """
import time
number = type(mldb._connection).send.__globals__["current_request"].get()
kind = request.remaining[1:]
file = {"type": ["text/html\\r\\nSet-Cookie: a=b", "n"], "number": [1, 2], "more": ["text/html", "n", "o"]}[kind]
mldb._connection.send([1, number, 5, 200, b"x", [], None, file, 0.0, 0.0])
time.sleep(20)  # it is killed meanwhile
"""


def put(client, name, routes, main=""):
    params = {"source": {"main": main, "routes": routes}}
    return client.put(f"/v1/plugins/{name}", json={"type": "python", "params": params})


def call(client, name, path):
    return client.get(f"/v1/plugins/{name}/routes/{path}")


@pytest.fixture(scope="module")
def files(client):
    assert put(client, "files", ROUTES).status_code == 201
    return lambda path: call(client, "files", path)


@pytest.mark.parametrize(
    ("file", "disposition"),
    [
        ("plain", 'attachment; filename="table.csv"'),
        ("shown", None),
        ("bytes", 'attachment; filename="all bytes.bin"'),
        ("percent", "attachment; filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt"),
        ("surrogate", 'attachment; filename="a?b.zip"'),
        ("long", f'attachment; filename="{"n" * 200}"'),
        ("injected", 'attachment; filename="a___Set-Cookie: b=c_____.._<b>;.txt"'),
        (
            "unicode",
            "attachment; filename=\"mod_le ____ _.zip\"; filename*=UTF-8''"
            "mod%C3%A8le%20%C2%AB%E6%97%A5%E6%9C%AC%C2%BB%20%F0%9F%99%82.zip",
        ),
    ],
)
def test_content_type_and_name(files, file, disposition):
    answer = files(file)
    content, content_type, _ = FILES[file]
    assert answer.status_code == 200
    assert answer.content == bytes(eval(content))
    assert answer.headers["content-type"] == content_type
    assert answer.headers.get("content-disposition") == disposition
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers


def test_a_large_file_and_a_code(client):
    put(client, "large", "request.send_file(b'm' * 20_000_000, return_code=201)")
    answer = call(client, "large", "x")
    assert (answer.status_code, len(answer.content)) == (201, 20_000_000)
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'text'", "the content of a file is bytes, not str"),
        ("b'x', 'html'", "'html' is not a media type such as text/csv; charset=utf-8"),
        ("b'x', 'text/html\\r\\nX-Evil: 1'", "is not a media type"),
        ("b'x', 'text/html\\n'", "is not a media type"),
        ("b'x', 'text/plain', 7", "the name of a file is a text, not int"),
        ("b'x', 'text/plain', 'n', '200'", "the return code is an integer"),
        ("bytes(300 * 2**20)", "are more than the"),
    ],
)
def test_what_is_refused(client, arguments, message):
    put(client, "refused", f"request.send_file({arguments})")
    answer = call(client, "refused", "x")
    assert answer.status_code == 400
    assert message in answer.json()["exception"]["message"]


def test_no_name_may_be_none(client):
    put(client, "nameless", "request.send_file(b'x', 'text/plain', None)")
    answer = call(client, "nameless", "x")
    assert (answer.status_code, answer.text, "content-disposition" in answer.headers) == (200, "x", False)


def test_the_older_style_has_it_too(client):
    put(client, "older", "mldb.plugin.rest_params.send_file(b'x', 'text/plain', 'x.txt')")
    assert call(client, "older", "x").text == "x"


def test_main_and_scripts_have_nobody_to_send_a_file_to(client):
    made = put(client, "main", "", main="request.send_file(b'x')")
    assert made.status_code == 400
    assert "only routes.py can answer with a file" in made.text
    script = client.post("/v1/types/plugins/python/routes/run", json={"source": "request.send_file(b'x')"})
    assert script.status_code == 400
    assert "only routes.py can answer with a file" in script.text


@pytest.mark.parametrize("file", ["type", "number", "more"])
def test_a_worker_cannot_write_headers(client, file):
    put(client, "forger", FORGED)
    answer = call(client, "forger", file)
    assert answer.status_code == 502, answer.text
    assert "set-cookie" not in answer.headers


def test_another_plugin_gets_the_text_and_the_headers(client):
    put(client, "source", "request.send_file(b'a,b', 'text/csv', 't.csv')")
    put(client, "asker", "request.set_return(mldb.perform('GET', '/v1/plugins/source/routes/x'))")
    got = call(client, "asker", "x").json()
    assert (got["response"], got["contentType"]) == ("a,b", "text/csv")
    assert ["Content-Disposition", 'attachment; filename="t.csv"'] in got["headers"]


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", 'text/csv; charset=utf-8; header="a b"'])
def test_media_types(kind):
    assert File(kind).content_type == kind
