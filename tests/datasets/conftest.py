import pytest

from tests.datasets.parts import Parts


@pytest.fixture
def services(tmp_path):
    parts = Parts(tmp_path)
    yield parts
    parts.database.close()


@pytest.fixture
def database(services):
    return services.database
