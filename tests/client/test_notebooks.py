"""The example notebooks, run cell by cell in a real kernel against a real server."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from tests.project.sources import ROOT
from tests.waiting import PATIENCE

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebook(file, server, monkeypatch, tmp_path):
    monkeypatch.setenv("MLDB_SERVER", server.url)
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(
        notebook, timeout=PATIENCE, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert notebook.cells[-1].outputs
