import pytest

from server.storage.database import Database


@pytest.fixture
def database():
    database = Database()
    yield database
    database.close()
