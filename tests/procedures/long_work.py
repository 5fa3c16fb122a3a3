"""Work that takes every type of procedure long enough to be watched and stopped, on data that is made once."""

from __future__ import annotations

import json
import random
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROWS = 400_000
_NUMBERS = "SELECT x, y, z FROM big"
_FEATURES = "SELECT {x, y, z, kind} AS features, label FROM big"
_SCORES = "SELECT x AS score, label FROM big"
_WORDS = "SELECT tokenize(text, {splitChars: ' '}) AS * FROM big"
_SLOW = "jseval('return x * 2', 'x', x)"
_ENDLESS = {"type": "bagging", "num_bags": 300, "weak_learner": {"type": "naive_bayes"}}
_TREE = {"type": "decision_tree", "max_depth": 2}
_SLEEP = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


@dataclass(frozen=True)
class Work:
    """``output`` names the parameters that hold output datasets, ``model`` the one that holds a model's URL."""

    type: str
    params: dict[str, Any]
    output: tuple[str, ...] = ("outputDataset",)
    model: str = ""
    prepare: Callable[[Path], None] = field(default=lambda folder: None)


def _model(type_: str, query: str, *, output: tuple[str, ...] = (), url: str = "modelFileUrl", **params: Any) -> Work:
    return Work(type_, {"trainingData": query, **params}, output, url)


def write_lines(name: str, line: Callable[[int], str], count: int = ROWS) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        with (folder / name).open("w") as file:
            file.writelines(line(number) + "\n" for number in range(count))

    return write


def _write_long_csv(folder: Path) -> None:
    """The lines of ``big`` several times."""
    lines = (folder / "big.csv").read_bytes()
    (folder / "long.csv").write_bytes(lines * 6)


def _write_vectors(folder: Path) -> None:
    numbers = struct.pack("<50f", *range(50))
    with (folder / "vectors.bin").open("wb") as file:
        file.write(b"200000 50\n")
        for number in range(200_000):
            file.write(f"word{number} ".encode() + numbers)


def _write_workbook(folder: Path) -> None:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("data")
    for number in range(60_000):
        sheet.append([number, number / 7, "text"])
    book.save(folder / "book.xlsx")


def _write_parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pa.array(range(3_000_000))
    pq.write_table(pa.table({f"c{number}": values for number in range(8)}), folder / "rows.parquet")


def _make_repository(folder: Path) -> None:
    """Many commits, told to git as one stream."""
    where = folder / "repository"
    subprocess.run(["git", "init", "-q", "-b", "main", str(where)], check=True)
    stream = []
    for number in range(30_000):
        stream.append(
            f"commit refs/heads/main\ncommitter A <a@example.org> {number} +0000\ndata 4\nwork\n"
            f"M 100644 inline f{number % 50}\ndata {len(str(number))}\n{number}\n"
        )
    subprocess.run(["git", "-C", str(where), "fast-import", "--quiet"], input="".join(stream).encode(), check=True)


def _make_folders(folder: Path) -> None:
    for number in range(200):
        inner = folder / "tree" / str(number)
        inner.mkdir(parents=True)
        for each in range(100):
            (inner / f"{each}.txt").touch()


def csv_line(number: int) -> str:
    rng = random.Random(number)
    words = f"w{number % 97} w{number % 31} the"
    return f"{rng.gauss(0, 1):.6f},{rng.gauss(0, 1):.6f},{number},{number % 2},k{number % 5},{words}"


def works() -> dict[str, Work]:
    """By name; ``{folder}`` in a parameter is the folder where the files are, below the data root."""
    return {
        "bucketize": Work(
            "bucketize", {"inputData": f"SELECT * FROM big ORDER BY {_SLOW}", "percentileBuckets": {"low": [0, 50]}}
        ),
        "ranking": Work("ranking", {"inputData": f"SELECT * FROM big ORDER BY {_SLOW}"}),
        "classifier.train": _model("classifier.train", _FEATURES, configuration=_ENDLESS),
        "classifier.experiment": Work(
            "classifier.experiment",
            {"inputData": _FEATURES, "configuration": _ENDLESS, "experimentName": "exp"},
            (),
            "modelFileUrlPattern",
        ),
        "classifier.test": Work("classifier.test", {"testingData": _SCORES}),
        "randomforest.binary.train": _model(
            "randomforest.binary.train", _FEATURES, featureVectorSamplings=20, featureSamplings=20
        ),
        "probabilizer.train": _model("probabilizer.train", _SCORES.replace("big", "merge(big, big)")),
        "svm.train": _model("svm.train", "SELECT x, y, label FROM big"),
        "svd.train": _model("svd.train", "SELECT * FROM big", output=("rowOutputDataset", "columnOutputDataset")),
        "kmeans.train": _model(
            "kmeans.train", _NUMBERS, output=("outputDataset", "centroidsDataset"), numClusters=20, maxIterations=300
        ),
        "gaussianclustering.train": _model(
            "gaussianclustering.train", _NUMBERS, output=("outputDataset", "centroidsDataset"), maxIterations=300
        ),
        "tsne.train": _model("tsne.train", f"{_NUMBERS} LIMIT 20000", output=("rowOutputDataset",)),
        "tfidf.train": _model("tfidf.train", _WORDS, output=("outputDataset",)),
        "statsTable.train": _model(
            "statsTable.train", "SELECT kind, x FROM big", output=("outputDataset",), url="statsTableFileUrl",
            outcomes=[["won", "label = 1"]],
        ),
        "statsTable.bagOfWords.train": _model(
            "statsTable.bagOfWords.train", _WORDS, output=("outputDataset",), url="statsTableFileUrl",
            outcomes=[["won", "label = 1"]], functionOutcomeToUse="won",
        ),
        "experimental.distTable.train": _model(
            "experimental.distTable.train", "SELECT kind, x FROM big", output=("outputDataset",),
            url="distTableFileUrl", outcomes=[["z", "z"]],
        ),
        "transform": Work("transform", {"inputData": "SELECT *, tokenize(text, {splitChars: ' '}) AS t FROM big"}),
        "melt": Work("melt", {"inputData": "SELECT {label} AS to_fix, {x, y, z} AS to_melt FROM big"}),
        "split": Work("split", {"labels": "SELECT kind FROM big", "splits": [0.5, 0.5]}, ("outputDatasets",)),
        "summary.statistics": Work("summary.statistics", {"inputData": "SELECT * FROM big"}),
        "dataset.stats": Work(
            "dataset.stats", {"inputData": "SELECT x, y, text FROM merge(big, big)"}
        ),
        "export.csv": Work("export.csv", {"exportData": "SELECT * FROM big"}, (), "dataFileUrl"),
        "import.text": Work(
            "import.text", {"dataFileUrl": "{folder}/long.csv", "headers": list("abcdef")}, prepare=_write_long_csv
        ),
        "import.json": Work(
            "import.json", {"dataFileUrl": "{folder}/rows.json"},
            prepare=write_lines("rows.json", lambda number: json.dumps({"a": number, "b": {"c": "x" * 20}})),
        ),
        "import.parquet": Work("import.parquet", {"dataFileUrl": "{folder}/rows.parquet"}, prepare=_write_parquet),
        "import.word2vec": Work("import.word2vec", {"dataFileUrl": "{folder}/vectors.bin"}, prepare=_write_vectors),
        "import.sentiwordnet": Work(
            "import.sentiwordnet", {"dataFileUrl": "{folder}/senti.txt"},
            prepare=write_lines("senti.txt", lambda n: f"a\t{n:08}\t0.5\t0.25\tword{n}#1 other{n}#2\tgloss"),
        ),
        "experimental.import.xlsx": Work(
            "experimental.import.xlsx", {"dataFileUrl": "{folder}/book.xlsx"}, ("output",), prepare=_write_workbook
        ),
        "import.git": Work(
            "import.git", {"repository": "{folder}/repository", "importStats": True}, prepare=_make_repository
        ),
        "list.files": Work("list.files", {"path": "{folder}/tree"}, prepare=_make_folders),
        "script.run": Work("script.run", {"language": "python", "scriptConfig": {"source": _SLEEP}}, ()),
        "experimental.external.procedure": Work(
            "experimental.external.procedure", {"scriptConfig": {"source": _SLEEP}}, ()
        ),
        "mock": Work("mock", {"durationMs": 600_000}, ()),
        "serial": Work(
            "serial",
            {"steps": [{"type": "null"}, {"type": "classifier.train", "params": {
                "trainingData": _FEATURES, "configuration": _ENDLESS, "modelFileUrl": "{folder}/serial.cls"}}]},
            (),
        ),
        "permuter.run": Work(
            "permuter.run",
            {"procedure": {"type": "mock", "params": {"durationMs": 600_000}},
             "permutations": {"durationMs": [200, 600_000]}},
            (),
        ),
        "createEntity": Work(
            "createEntity",
            {"kind": "procedure", "type": "mock", "id": "inner", "params": {"durationMs": 600_000}},
            (),
        ),
    }  # fmt: skip
