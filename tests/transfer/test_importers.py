"""Over REST: word vectors, SentiWordNet, Excel workbooks, git repositories, listings and sizes of data."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import zipfile
from datetime import datetime, time

import numpy as np
import openpyxl
import pytest

from server.errors import MldbError
from server.transfer import import_word2vec
from tests.transfer.runs import error, status


@pytest.fixture(scope="module")
def folder(server):
    return server.data_dir.resolve()


def rows(client, dataset):
    """Cells of each row by column, nulls left out."""
    listed = client.query(f'SELECT * FROM "{dataset}"', "full")
    return {row["rowName"]: {name: value for name, value, _ in row["columns"] if value is not None} for row in listed}


# ── word vectors ──


WORDS = {"king": (1, 0, 0.5), "queen": (1, 0.1, 0.5), "naïve": (0, 1, 0), "U.S.": (0, 0, -1)}


def vectors(words, newline=b""):
    lines = [word.encode() + b" " + np.array(numbers, "<f4").tobytes() + newline for word, numbers in words.items()]
    return f"{len(words)} 3\n".encode() + b"".join(lines)


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_word_vectors(client, folder, newline):
    (folder / "words.bin").write_bytes(vectors(WORDS, newline))
    params = {"dataFileUrl": f"file://{folder}/words.bin", "outputDataset": "w2v"}
    assert status(client, "import.word2vec", **params) == {"rowCount": 4}
    assert client.get("/v1/datasets/w2v").json()["type"] == "embedding"
    found = rows(client, "w2v")
    assert set(found) == {"king", "queen", "naïve", '"U.S."'}
    assert found["queen"] == {"0": 1, "1": pytest.approx(0.1), "2": 0.5}
    client.put("/v1/functions/nn", json={"type": "embedding.neighbors", "params": {"dataset": "w2v"}})
    near = client.query("SELECT nn({coords: 'king', numNeighbors: 2})[neighbors] AS *")
    assert near[1][1:] == ["king", "queen"]
    client.put("/v1/functions/pool", json={"type": "pooling", "params": {"embeddingDataset": "w2v"}})
    mean = client.query('SELECT pool({words: {king: 1, "naïve": 1}})[embedding] AS *')
    assert mean[1][1:] == [0.5, 0.5, 0.25]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_words_across_the_ends_of_what_is_read_at_once(size, monkeypatch):
    monkeypatch.setattr(import_word2vec, "_READ_BYTES", size)
    words = {f"word{number}": (number, number / 2, -number) for number in range(50)}
    file = import_word2vec.VectorFile(io.BytesIO(vectors(words, b"\n")))
    found = list(file.batches(3, 40))
    assert [word for block in found for word in block.words] == list(words)[3:43]
    assert np.concatenate([block.vectors for block in found]).tolist() == [list(words[w]) for w in list(words)[3:43]]


def test_a_word_without_end(monkeypatch):
    monkeypatch.setattr(import_word2vec, "_READ_BYTES", 100)
    file = import_word2vec.VectorFile(io.BytesIO(b"1 3\n" + b"a" * 5000 + b" " + bytes(12)))
    with pytest.raises(MldbError, match="damaged at word 0 of 1"):
        list(file.batches(0, -1))


def test_some_words_under_other_names(client, folder):
    (folder / "words.bin.gz").write_bytes(gzip.compress(vectors(WORDS)))
    params = {"dataFileUrl": f"file://{folder}/words.bin.gz", "output": {"id": "two", "type": "tabular"}}
    params |= {"offset": 1, "limit": 2, "named": "upper(word) + '!'"}
    assert status(client, "import.word2vec", **params) == {"rowCount": 2}
    assert set(rows(client, "two")) == {"QUEEN!", "NAÏVE!"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"king 1 0 0.5\n", "no word2vec file in the binary format"),
        (b"", "no word2vec file in the binary format"),
        (b"2 3\nking " + bytes(12) + b"queen " + bytes(5), "cut off or damaged at word 1 of 2"),
        (b"1 9999999\nking ", "cannot have 1 words of 9999999 dimensions"),
        (b"-1 3\n", "cannot have -1 words"),
    ],
)
def test_what_holds_no_word_vectors(client, folder, content, message):
    (folder / "bad.bin").write_bytes(content)
    assert message in error(client, "import.word2vec", dataFileUrl=f"file://{folder}/bad.bin", outputDataset="bad")


def test_a_word_needs_a_name(client, folder):
    (folder / "words.bin").write_bytes(vectors(WORDS))
    params = {"dataFileUrl": f"file://{folder}/words.bin", "outputDataset": "bad"}
    assert "null name" in error(client, "import.word2vec", named="CAST(NULL AS string)", **params)
    assert "Cannot convert value of type row" in error(client, "import.word2vec", named="{word}", **params)


# ── SentiWordNet ──


SENTIMENTS = """# comment
a\t00001740\t0.125\t0\table#1\t(usually followed by `to') having the means
a\t00002098\t0\t0.75\tunable#1 able#2\tnot having the means
n\t00003000\t0.5\t0.25\table#1\ta noun
"""


def test_sentiments(client, folder):
    (folder / "senti.txt").write_text(SENTIMENTS)
    found = status(client, "import.sentiwordnet", dataFileUrl=f"file://{folder}/senti.txt", outputDataset="senti")
    assert found == {"rowCount": 3}
    assert rows(client, "senti") == {
        "able#a": {
            "SentiPos": pytest.approx(0.125 / 1.5), "SentiNeg": pytest.approx(0.375 / 1.5),
            "SentiObj": pytest.approx(1 - 0.5 / 1.5), "POS": "a", "baseWord": "able",
        },
        "unable#a": {"SentiPos": 0, "SentiNeg": 0.75, "SentiObj": 0.25, "POS": "a", "baseWord": "unable"},
        "able#n": {"SentiPos": 0.5, "SentiNeg": 0.25, "SentiObj": 0.25, "POS": "n", "baseWord": "able"},
    }  # fmt: skip


@pytest.mark.parametrize("line", ["a\tb", "a\t1\tx\t0\tw#1\t", "a\t1\t0\t0\tword\t", "a\t1\t0\t0\tw#0\t"])
def test_bad_sentiments(client, folder, line):
    (folder / "senti.txt").write_text(SENTIMENTS + line)
    message = error(client, "import.sentiwordnet", dataFileUrl=f"file://{folder}/senti.txt", outputDataset="bad")
    assert "Line 5 of the SentiWordNet file is no meaning" in message


# ── Excel ──


def test_workbook(client, folder):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prix é"
    sheet["A1"], sheet["B1"], sheet["AB1"] = "name", "when", "far"
    sheet["A2"], sheet["B2"], sheet["C2"] = "x", datetime(2016, 1, 2, 3, 4, 5), 1.5
    sheet["A12"], sheet["B12"], sheet["C12"], sheet["D12"] = True, 7, "=1+1", time(10, 30)
    book.create_sheet("Empty")
    book.save(folder / "book.xlsx")
    params = {"dataFileUrl": f"file://{folder}/book.xlsx", "output": {"id": "book", "type": "sparse.mutable"}}
    assert status(client, "experimental.import.xlsx", **params) == {"rowCount": 3}
    assert rows(client, "book") == {
        "Prix é:01": {"A": "name", "B": "when", "AB": "far"},
        "Prix é:02": {"A": "x", "B": {"ts": "2016-01-02T03:04:05Z"}, "C": 1.5},
        "Prix é:12": {"A": 1, "B": 7, "D": "10:30:00"},
    }
    params["output"] = {"id": "table", "type": "tabular"}
    assert status(client, "experimental.import.xlsx", **params) == {"rowCount": 3}
    assert rows(client, "table") == rows(client, "book")


def test_what_is_no_workbook(client, folder):
    (folder / "bad.xlsx").write_bytes(b"PK\x03\x04 no zip")
    params = {"dataFileUrl": f"file://{folder}/bad.xlsx", "output": {"id": "bad", "type": "tabular"}}
    assert "cannot be read as an Excel workbook" in error(client, "experimental.import.xlsx", **params)
    params["output"] = {"id": "bad"}
    assert "needs the type of its output dataset" in error(client, "experimental.import.xlsx", **params)


def test_a_workbook_that_would_fill_the_memory(client, folder):
    with zipfile.ZipFile(folder / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", bytes(80 << 20))
    params = {"dataFileUrl": f"file://{folder}/bomb.xlsx", "output": {"id": "bad", "type": "tabular"}}
    assert "archive_ratio" in error(client, "experimental.import.xlsx", **params)


# ── git ──


def git(folder, *arguments, when="2020-01-01T00:00:00Z"):
    people = {"GIT_AUTHOR_NAME": "Zoé", "GIT_AUTHOR_EMAIL": "z@example.org", "GIT_COMMITTER_NAME": "Max"}
    people |= {"GIT_COMMITTER_EMAIL": "m@example.org", "GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when}
    environment = os.environ | people | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", "-C", folder, *arguments], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(folder):
    """Four commits: two files, a rename and a deletion on a branch, a merge."""
    path = folder / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "a.txt").write_text("one\ntwo\nthree\n")
    (path / "b c.txt").write_text("x\n")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "First\n\nwith a body", when="2020-01-01T00:00:00Z")
    git(path, "checkout", "-qb", "side")
    git(path, "mv", "a.txt", "d.txt")
    git(path, "rm", "-q", "b c.txt")
    git(path, "commit", "-qm", "Second", when="2020-01-02T00:00:00Z")
    git(path, "checkout", "-q", "main")
    (path / "b c.txt").write_text("x\ny\n")
    git(path, "commit", "-qam", "Third", when="2020-01-03T00:00:00Z")
    git(path, "merge", "-q", "-X", "ours", "-s", "ours", "-m", "Fourth", "side", when="2020-01-04T00:00:00Z")
    return path


def test_commits(client, repository):
    params = {"repository": f"file://{repository}", "outputDataset": "commits", "importStats": True}
    assert status(client, "import.git", importTree=True, **params) == {"rowCount": 4}
    found = {row["message"].split()[0]: (name, row) for name, row in rows(client, "commits").items()}
    name, first = found["First"]
    assert name == git(repository, "rev-list", "--max-parents=0", "HEAD")
    assert first["author"] == "Zoé"
    assert (first["committer"], first["committerEmail"], first["authorEmail"]) == (
        "Max", "m@example.org", "z@example.org",
    )  # fmt: skip
    assert first["message"] == "First\n\nwith a body\n"
    assert (first["filesChanged"], first["insertions"], first["deletions"], first["parentCount"]) == (2, 4, 0, 0)
    assert first['"file.b c.txt.op"'] == "added"
    assert first['"file.a.txt.insertions"'] == 3
    second, third, fourth = (found[word][1] for word in ("Second", "Third", "Fourth"))
    assert second['"file.d.txt.op"'] == "renamed"
    assert second['"file.b c.txt.op"'] == "deleted"
    assert third['"file.b c.txt.op"'] == "modified"
    assert (fourth["parentCount"], fourth["filesChanged"]) == (2, 0)
    both = client.get_json(
        "/v1/query",
        {"q": f"SELECT temporal_count({{parent}}) AS n FROM commits WHERE rowName() = '{found['Fourth'][0]}'"},
    )
    assert both.json()[0]["columns"][0][1] == 2
    dated = client.query("SELECT latest_timestamp(message) AS t FROM commits WHERE parentCount = 0")
    assert dated[1][1:] == ["2020-01-01T00:00:00Z"]


def test_revisions_and_ranges(client, repository):
    params = {"repository": f"file://{repository}", "outputDataset": "some"}
    assert status(client, "import.git", revisions=["side"], **params) == {"rowCount": 2}
    assert status(client, "import.git", revisions=["side..main"], **params) == {"rowCount": 2}
    assert "no revision 'nowhere'" in error(client, "import.git", revisions=["nowhere"], **params)
    assert "at least one revision" in error(client, "import.git", revisions=[], **params)


def test_an_unknown_encoding(client, repository):
    git(repository, "-c", "i18n.commitEncoding=latin1", "commit", "-q", "--allow-empty", "-m", "caf\udce9")
    params = {"repository": f"file://{repository}", "outputDataset": "latin", "revisions": ["HEAD~1..HEAD"]}
    assert status(client, "import.git", **params) == {"rowCount": 1}
    assert [row["message"] for row in rows(client, "latin").values()] == ["café\n"]


def test_what_is_no_repository(client, folder):
    def refused(url):
        return error(client, "import.git", repository=url, outputDataset="bad")

    assert "a file:// URL, not 'https://example.org/x'" in refused("https://example.org/x")
    assert "is no git repository" in refused(f"file://{folder}")
    assert "There is no folder" in refused(f"file://{folder}/nowhere")
    assert "outside the folders" in refused("file:///etc")


# ── listings ──


def test_files(client, folder):
    base = folder / "listed"
    (base / "sub" / "deep").mkdir(parents=True)
    for name, moment in (("a.txt", 1_000_000), ("sub/b é.txt", 2_000_000), ("sub/deep/c.txt", 3_000_000)):
        (base / name).write_text("12345")
        os.utime(base / name, (moment, moment))
    (base / os.fsdecode(b"caf\xe9")).touch()  # no URL names it
    url = f"file://{base}"

    def names(**params):
        status(client, "list.files", path=url, outputDataset="files", **params)
        return sorted(row["uri"].removeprefix(url + "/") for row in rows(client, "files").values())

    assert names() == ["a.txt", "sub/b é.txt", "sub/deep/c.txt"]
    assert names(maxDepth=0) == ["a.txt"]
    assert names(maxDepth=1) == ["a.txt", "sub/b é.txt"]
    assert names(modifiedSince="1970-01-24T03:33:20Z") == ["sub/b é.txt", "sub/deep/c.txt"]
    assert names(modifiedSince=2_500_000) == ["sub/deep/c.txt"]
    (row,) = rows(client, "files").values()
    assert (row["size"], row["last_modified"]) == (5, {"ts": "1970-02-04T17:20:00Z"})
    assert "couldn't parse date" in error(client, "list.files", path=url, modifiedSince="soon")


def test_members_of_an_archive(client, folder):
    with zipfile.ZipFile(folder / "listed.zip", "w") as packed:
        packed.writestr("x/y.csv", "a")
    params = {"path": f"archive+file://{folder}/listed.zip#", "outputDataset": "members"}
    assert status(client, "list.files", **params)["rowCount"] == 1
    ((_, row),) = rows(client, "members").items()
    assert row["uri"].endswith("listed.zip#x/y.csv")


# ── sizes ──


def test_size_of_a_dataset(client):
    client.put("/v1/datasets/points", json={"type": "sparse.mutable"})
    cells = [["a", [["x", 1, 10], ["x", 2, 20], ["y", "t", 20]]], ["b", [["x", 5, 10], ["z", None, 99]]]]
    client.post("/v1/datasets/points/multirows", json=cells)
    client.post("/v1/datasets/points/commit")
    status(client, "dataset.stats", inputData="SELECT * FROM points", outputDataset="size")
    assert rows(client, "size") == {
        "result": {
            "rowsCount": 2, "columnsCount": 3, "distinctTimestampsCount": 2, "cellsCount": 3, "dataPointsCount": 4,
            "earliestTimestamp": {"ts": "1970-01-01T00:00:10Z"}, "latestTimestamp": {"ts": "1970-01-01T00:00:20Z"},
        }
    }  # fmt: skip
    status(client, "dataset.stats", inputData="SELECT x, [1, 2] AS e, parse_json('{\"a\": 1}') AS * FROM points",
           outputDataset="size")  # fmt: skip
    assert rows(client, "size")["result"]["columnsCount"] == 4
    assert rows(client, "size")["result"]["cellsCount"] == 8
    status(client, "dataset.stats", inputData="SELECT * FROM points WHERE false", outputDataset="size")
    assert rows(client, "size")["result"]["rowsCount"] == 0
