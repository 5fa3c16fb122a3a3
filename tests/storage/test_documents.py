"""Small documents of the data root: what could not be written is not there."""

import shutil

import pytest

from server.entities.credentials import Credentials
from server.entities.documents import write_document


def test_what_could_not_be_written_is_as_before(tmp_path):
    folder = tmp_path / "data"
    credentials = Credentials(folder / "credentials.json")
    config = {"store": {"resource": "s3://", "credential": {"id": "me"}}}
    with pytest.raises(FileNotFoundError):
        credentials.add("x", config)
    assert credentials.ids() == []
    folder.mkdir()
    credentials.add("x", config)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        credentials.remove("x")
    assert credentials.ids() == ["x"]
    folder.mkdir()
    credentials.remove("x")
    assert Credentials(folder / "credentials.json").ids() == []


def test_nothing_stays_of_what_could_not_be_written(tmp_path):
    with pytest.raises(TypeError):
        write_document(tmp_path / "some.json", {"secret": object()})
    assert not any(tmp_path.iterdir())
