"""Small documents of the data root: what could not be written is not there."""

import shutil

import pytest

from server.entities.credentials import Credentials


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
