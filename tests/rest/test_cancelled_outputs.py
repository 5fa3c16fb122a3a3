"""A run that is cancelled while it makes the dataset for its results leaves none behind."""

from __future__ import annotations

import pytest

from server import tasks
from server.entities.progress import TaskProgress
from server.errors import MldbError
from tests.inprocess import in_process


def test_a_dataset_half_made_is_gone(tmp_path):
    with in_process(tmp_path) as host:
        services = host._services
        progress = TaskProgress()
        progress.cancel()
        with tasks.acting_for(progress), pytest.raises(MldbError):
            services.output_dataset({"id": "results"}, "tabular")
        assert host.must("GET", "/v1/datasets") == []
        services.output_dataset({"id": "results"}, "tabular")
        assert host.must("GET", "/v1/datasets") == ["results"]
