"""Files that are uploaded, previewed and imported; what the columns of a dataset hold."""

from __future__ import annotations

import asyncio
import datetime
import io
import os
import socket
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from server.entities.routes import Spool
from server.http import bodies
from server.settings import Settings
from tests.waiting import PATIENCE, until


def upload(client, name, content, dataset):
    assert client.put(f"/v1/uploads/{name}", content=content).status_code == 201
    answer = client.get(f"/v1/uploads/{name}/preview", params={"dataset": dataset})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_limit_is_told_before_anything_is_sent(client):
    assert client.get("/v1/uploads").headers["upload-limit"] == f"max-size={Settings().upload_size * 2**20}"


def run(client, steps):
    for step in steps:
        answer = client.post("/v1/procedures", json=step)
        assert answer.status_code == 201, answer.text


def as_parquet(table):
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def test_csv_from_preview_to_rows(client):
    shown = upload(client, "städte.csv", 'name;größe\nKöln;1084\n"a\nb";2\n'.encode(), "staedte")
    assert (shown["kind"], shown["columns"]) == ("CSV with ';'", ["name", "größe"])
    assert shown["rows"] == [["Köln", "1084"], ["a\nb", "2"]]
    run(client, shown["steps"])
    cells = client.query('SELECT name AS a, "größe" AS b FROM staedte ORDER BY "größe"')
    assert cells[1][1:] == ["a b", 2]


def test_json_lines(client):
    shown = upload(client, "lines.json", b'{"a": 1}\n{"a": 2, "b": {"x": ["\xc3\xa9"]}}\n', "lines")
    assert (shown["columns"], shown["rows"]) == (["a", "b"], [[1, None], [2, '{"x": ["é"]}']])
    run(client, shown["steps"])
    assert client.query("SELECT sum(a) FROM lines")[1][1] == 3


def test_parquet_of_every_kind(client):
    when = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "whole": [1, None, 3],
            "real": [0.5, float("nan"), None],
            "text": ["ä", "", None],
            "time": [when, None, when],
            "bytes": [b"\x00\xff", None, b""],
            "list": [[1, 2], [], None],
            "category": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
    )
    shown = upload(client, "all.parquet", as_parquet(table), "all_kinds")
    assert (shown["kind"], shown["total"]) == ("Parquet", 3)
    run(client, shown["steps"])
    header, first, *_ = client.query("SELECT whole, text, time, list, category FROM all_kinds ORDER BY rowName()")
    assert dict(zip(header, first, strict=True)) == {
        "_rowName": "1", "whole": 1, "text": "ä", "time": "2020-01-02T03:04:05Z", "list": "[1,2]", "category": "a",
    }  # fmt: skip


def test_a_zip_of_pictures(client):
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(picture, "PNG")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one/red.png", picture.getvalue())
        archive.writestr("notes.txt", "no picture")
    shown = upload(client, "pictures.zip", packed.getvalue(), "pictures")
    assert (shown["kind"], shown["total"]) == ("Pictures", 1)
    run(client, shown["steps"])
    assert client.query("SELECT blob_length(image) AS size FROM pictures")[1][1] == len(picture.getvalue())


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"PAR1 broken", b"PK broken", b"[1, 2]", b'"text"\n{'])
def test_what_cannot_be_imported_says_why(client, content):
    put = client.put("/v1/uploads/bad.bin", content=content)
    if put.status_code == 201:
        answer = client.get("/v1/uploads/bad.bin/preview")
        assert answer.status_code in (200, 400)
        assert answer.status_code == 200 or "bad.bin" in answer.json()["error"]
    client.delete("/v1/uploads/bad.bin")


@pytest.mark.parametrize("name", [".hidden", "a%2Fb", "%2E%2E", "a%5Cb", "a%00b", "x" * 300])
def test_names_stay_in_the_folder(client, name):
    assert client.put(f"/v1/uploads/{name}", content=b"x").status_code in (400, 404)


def test_uploads_are_listed_and_removed(client):
    client.put("/v1/uploads/gone.csv", content=b"a\n1\n")
    assert "gone.csv" in client.get("/v1/uploads").json()
    assert client.delete("/v1/uploads/gone.csv").status_code == 204
    assert client.delete("/v1/uploads/gone.csv").status_code == 404


def test_a_file_whose_name_is_no_text_does_not_hide_the_others(client, server):
    client.put("/v1/uploads/seen.csv", content=b"a\n1\n")
    odd = server.data_dir / "uploads" / os.fsdecode(b"caf\xe9.csv")
    odd.touch()
    assert "seen.csv" in client.must("GET", "/v1/uploads")
    odd.unlink()


def test_columns_are_profiled(client):
    client.put("/v1/datasets/profiled", json={"type": "sparse.mutable"})
    rows = [[f"r{i}", [["x", i, 0], ["even.odd", ["even", "odd"][i % 2], 0]]] for i in range(100)]
    client.post("/v1/datasets/profiled/multirows", json=[*rows, ["last", [["rare", float(1), 0]]]])
    client.post("/v1/datasets/profiled/commit")
    shown = client.get("/v1/datasets/profiled/profile").json()
    assert (shown["total"], shown["rows"]) == (3, 101)
    columns = {column["name"]: column for column in shown["columns"]}
    assert columns["x"]["filled"] == pytest.approx(100 / 101)
    assert (columns["x"]["low"], columns["x"]["high"], sum(columns["x"]["bins"])) == (0, 99, 100)
    assert columns["even.odd"]["kinds"] == ["text"]
    assert sorted(columns["even.odd"]["top"]) == [["even", 50], ["odd", 50]]
    assert columns["rare"]["distinct"] == 1
    (rare,) = (column for column in shown["columns"] if column["name"] == "rare")
    assert (rare["low"], rare["high"], sum(rare["bins"])) == (
        1.0,
        1.0,
        1,
    )  # the range of what is there, not of the bins
    found = client.get("/v1/datasets/profiled/profile", params={"search": "EVEN"}).json()
    assert [column["name"] for column in found["columns"]] == ["even.odd"]
    assert client.get("/v1/datasets/missing/profile").status_code == 404


def chunks(size):
    for _ in range(size // 65536):
        yield b"x" * 65536


def test_uploads_have_a_limit_of_their_own_and_leave_nothing_behind(start_server):
    server = start_server("--max-body", "1", "--upload-size", "8")
    folder = server.data_dir / "uploads"
    with server.client() as client:
        small = 6 * 2**20
        assert client.put("/v1/uploads/fits.txt", content=b"x" * small).status_code == 201
        assert client.put("/v1/uploads/chunked.txt", content=chunks(small)).status_code == 201
        assert {file.name: file.stat().st_size for file in folder.iterdir()} == {
            "fits.txt": small,
            "chunked.txt": small,
        }
        refused = client.put("/v1/uploads/large.txt", content=chunks(10 * 2**20))
        assert refused.status_code == 413
        assert "upload-size" in refused.json()["error"]
        refused = client.put("/v1/uploads/large.txt", content=b"x" * (90 * 2**20))
        assert (refused.status_code, refused.json()["httpCode"]) == (413, 413)
        assert client.put("/v1/uploads/none.txt", content=b"").status_code == 400
        assert client.put("/v1/uploads/.hidden", content=b"x").status_code == 400
        assert "max-body" in client.put("/v1/datasets/x", content=b"x" * 2**21).json()["error"]
        assert sorted(file.name for file in folder.iterdir()) == ["chunked.txt", "fits.txt"]


def test_an_upload_that_breaks_off_leaves_nothing(start_server):
    server = start_server()
    folder = server.data_dir / "uploads"
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port)) as link:
        link.sendall(
            b"PUT /v1/uploads/part.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 2000000
        )
        until(lambda: folder.is_dir() and any(folder.iterdir()))
    until(lambda: not any(folder.iterdir()))
    server.kill()
    (folder / ".upload-left").write_bytes(b"x")
    with start_server(data_dir=server.data_dir).client() as client:
        assert client.get("/v1/uploads").json() == []
        assert not any(folder.iterdir())


def test_an_upload_whose_address_is_wrong_leaves_nothing(start_server):
    server = start_server()
    with server.client() as client:
        many = "&".join(["a=1"] * 10_001)
        assert client.put(f"/v1/uploads/refused.txt?{many}", content=b"x").status_code == 400
        assert not any((server.data_dir / "uploads").iterdir())


def test_an_upload_that_the_disk_has_no_room_for_leaves_nothing(tmp_path, monkeypatch):
    """What waits in the buffer of the file is refused a second time as the file is closed."""

    def draft(folder):
        file = folder / ".upload-full"
        file.touch()
        return file, Path("/dev/full").open("wb")

    monkeypatch.setattr(bodies, "_draft", draft)
    messages = iter([b"x" * 100, b"x" * 2**21])

    async def receive():
        return {"type": "http.request", "body": next(messages), "more_body": True}

    spool = Spool(tmp_path, 2**22, "upload-size", lambda _: None)
    with ThreadPoolExecutor() as threads:
        reader = bodies.BodyReader(Settings(), threads)
        with pytest.raises(OSError, match="No space left"):
            asyncio.run(reader.spooled(spool, {"transfer-encoding": "chunked"}, receive))
    assert not any(tmp_path.iterdir())


def test_a_name_that_will_not_do_is_refused_before_the_file_comes(start_server):
    server = start_server()
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=PATIENCE) as link:
        link.sendall(b"PUT /v1/uploads/.hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n")
        assert link.recv(4096).startswith(b"HTTP/1.1 400")


def test_an_upload_that_is_cancelled_as_it_begins_leaves_nothing(tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    make = bodies._draft

    def slow(folder):
        begun.set()
        assert go_on.wait(PATIENCE)
        return make(folder)

    async def cancel():
        threads = ThreadPoolExecutor()
        reader = bodies.BodyReader(Settings(), threads)
        upload = asyncio.create_task(reader.spooled(Spool(tmp_path, 2**22, "upload-size", lambda _: None), {}, None))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        go_on.set()
        threads.shutdown()

    monkeypatch.setattr(bodies, "_draft", slow)
    asyncio.run(cancel())
    assert not any(tmp_path.iterdir())


def test_large_uploads_are_not_held_in_memory(start_server):
    """The file is five times as large as what the server may grow by meanwhile."""
    server = start_server()
    with server.client() as client:
        client.put("/v1/uploads/first.txt", content=b"x")
        before = resident(server.process.pid)
        assert client.put("/v1/uploads/large.txt", content=chunks(200 * 2**20)).status_code == 201
        assert resident(server.process.pid) - before < 40 * 2**20


def resident(pid):
    """The peak of the process's memory, in bytes."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_a_preview_tells_encoding_and_bad_lines_leave_it(client):
    shown = upload(client, "latin.csv", "Stadt,n\nKöln,1\n".encode("latin-1"), "latin")
    assert (shown["rows"], shown["steps"][0]["params"]["encoding"]) == ([["Köln", "1"]], "latin1")
    run(client, shown["steps"])
    assert client.query("SELECT Stadt FROM latin")[1][1] == "Köln"
    shown = upload(client, "some.jsonl", b'{"a": 1}\n{broken\n{"a": 3}\n', "some")
    assert shown["rows"] == [[1], [3]]
    refused = client.post("/v1/procedures", json=shown["steps"][0]).json()
    assert refused["details"]["runError"]["details"]["lineNumber"] == 2


def test_text_of_utf_16_says_what_to_do(client):
    client.put("/v1/uploads/wide.csv", content="a,b\n1,2\n".encode("utf-16"))
    assert "save it as UTF-8" in client.get("/v1/uploads/wide.csv/preview").json()["error"]


def test_a_workbook(client):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "S"
    book.active.append(["only a title"])
    book.active.append(["a", 2])
    content = io.BytesIO()
    book.save(content)
    shown = upload(client, "book.xlsx", content.getvalue(), "book")
    assert shown["kind"] == "Excel workbook"
    run(client, shown["steps"])
    assert client.query("SELECT A, B FROM book WHERE B = 2")[1][1:] == ["a", 2]
