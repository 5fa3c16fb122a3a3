"""``GET /metrics``: requests, entities, runs and plugins for Prometheus."""

from __future__ import annotations

import time
from collections import Counter as Count
from collections.abc import Iterator
from functools import partial

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from server.entities.routes import Call
from server.entities.types import PLURALS
from server.http.answers import content
from server.http.host import Host
from server.messages import Response

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _State:
    """Gauges that are looked up when somebody asks."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._started = time.time()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("mldb_start_time_seconds", "When the server started", value=self._started)
        entities = GaugeMetricFamily("mldb_entities", "Entities by kind and state", labels=("kind", "state"))
        for kind in PLURALS:
            states = Count(entry.state for entry in self._host.registry.entries(kind))
            for state, count in states.items():
                entities.add_metric((kind, state), count)
        yield entities
        yield self._runs()
        file = self._host.settings.database_file
        size = file.stat().st_size if file.exists() else 0
        yield GaugeMetricFamily("mldb_database_bytes", "Size of the database file", value=size)

    def _runs(self) -> Metric:
        runs = GaugeMetricFamily("mldb_runs", "Runs of procedures by state", labels=("state",))
        ready = (entry.ready for entry in self._host.registry.entries("procedure"))
        found = (each.runs.all() for each in ready if each is not None and each.runs is not None)
        for state, count in Count(run.state for group in found for run in group).items():
            runs.add_metric((state,), count)
        return runs


def register(host: Host) -> None:
    host.metrics.registry.register(_State(host))
    host.resources.add(
        "GET",
        "/metrics",
        partial(_metrics, host),
        summary="Figures for Prometheus",
        replies=content("text/plain"),
        result="text",
    )


def _metrics(host: Host, _: Call) -> Response:
    return Response(200, generate_latest(host.metrics.registry), CONTENT_TYPE)
