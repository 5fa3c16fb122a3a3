"""Makes the data root that the upgrade test opens: ``python -m tests.storage.make_data_root ARCHIVE``.

Run it in a checkout of an earlier version, with that version's environment, and commit the archive under its commit:
a data root that anybody has must open with every later version.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

from tests.conftest import Client, RunningServer
from tests.learning.models import TRAININGS, make_datasets

PLUGIN = {
    "main.py": "from mldb import mldb\nmldb.log('loaded')\n",
    "routes.py": "request.set_return(mldb.query('SELECT count(*) AS n FROM wide')[1][1])\n",
}


def fill(client: Client) -> None:
    """A dataset of each layout, functions, a trained model, a procedure with a run."""
    rows = [[f"r{n}", [["x", n, 0], ["label", n > 4, 0], ["text", "größe", 0]]] for n in range(10)]
    for name, type in (("wide", "tabular"), ("cells", "sparse.mutable")):
        created(client.put(f"/v1/datasets/{name}", json={"type": type}))
        created(client.post(f"/v1/datasets/{name}/multirows", json=rows))
        created(client.post(f"/v1/datasets/{name}/commit"))
    created(client.put("/v1/datasets/numbered", json={"type": "tabular"}))
    numbered = [[str(n), [["x", n, 0]]] for n in range(10)]
    created(client.post("/v1/datasets/numbered/multirows", json=numbered))
    created(client.post("/v1/datasets/numbered/commit"))
    created(client.put("/v1/datasets/timed", json={"type": "sparse.mutable"}))
    timed = [[f"r{n}", [["x", n, n * 7 % 40], ["y", n, n * 7 % 40]]] for n in range(40)]
    created(client.post("/v1/datasets/timed/multirows", json=timed))
    created(client.post("/v1/datasets/timed/commit"))
    client.query("SELECT count(*) AS n FROM timed")  # what is in the journal goes into the tables
    view = {"type": "merged", "params": {"datasets": [{"id": "wide"}, {"id": "cells"}]}}
    created(client.put("/v1/datasets/both", json=view))
    expression = {"type": "sql.expression", "params": {"expression": "x * 2 AS y"}}
    created(client.put("/v1/functions/double", json=expression))
    training = {
        "trainingData": "SELECT {x} AS features, label FROM wide",
        "modelFileUrl": "file:///mldb_data/models/model.cls",
        "algorithm": "glz",
        "configuration": {"glz": {"type": "glz"}},
        "functionName": "classify",
        "mode": "boolean",
    }
    created(client.put("/v1/procedures/train", json={"type": "classifier.train", "params": training}))
    make_models(client)


def make_models(client: Client) -> None:
    """A model of every kind that there is, and its function."""
    make_datasets(client)
    for name, one in TRAININGS.items():
        config = one.config(name, f"file:///mldb_data/models/{name}.model")
        created(client.put(f"/v1/procedures/train_{name}", json=config))


def created(answer: object) -> None:
    if answer.status_code >= 300:  # type: ignore[attr-defined]
        raise SystemExit(answer.text)  # type: ignore[attr-defined]


def main(archive: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        plugin = data / "plugins" / "old"
        plugin.mkdir(parents=True)
        for name, text in PLUGIN.items():
            (plugin / name).write_text(text)
        server = RunningServer(data)
        with server.client() as client:
            fill(client)
        server.stop()
        with tarfile.open(archive, "w:xz") as packed:
            packed.add(data, ".", filter=lambda member: None if member.name.startswith("./logs") else member)


if __name__ == "__main__":
    main(sys.argv[1])
