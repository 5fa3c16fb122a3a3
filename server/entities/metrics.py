"""What is counted while the server works, for ``GET /metrics``.

Counting is done on the event loop only, so that it needs no lock and costs about a microsecond per request; the
families of prometheus-client are made when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from server.messages import Request

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)  # seconds
_NAMES: Final = (*map(str, _BOUNDS), "+Inf")
_PLUGIN_ROUTES: Final = "/v1/plugins/{plugin}/routes"
_MOST_PLUGINS: Final = 1000  # names come and go: a label without end would be a leak


class Timing:
    """How often something happened, and how long it took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_NAMES)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(_BOUNDS, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def cumulative(self) -> list[tuple[str, float]]:
        return list(zip(_NAMES, accumulate(self.buckets), strict=True))


class Metrics:
    """What is counted of one server. Routes are named by their templates: ids would be labels without end."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_flight = 0
        self._requests: dict[tuple[str, str, int], Timing] = {}
        self._plugins: dict[str, Timing] = {}
        self._refused: dict[int, int] = {}
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def observe(self, request: Request, status: int, seconds: float) -> None:
        """Count an answer. Called on the event loop."""
        key = (request.verb, request.route, status)
        timing = self._requests.get(key)
        if timing is None:
            timing = self._requests[key] = Timing()
        timing.add(seconds)
        if request.route.startswith(_PLUGIN_ROUTES) and status != 404:
            self._observe_plugin(request.path.split("/", 4)[3], seconds)

    def refuse(self, status: int) -> None:
        """Count a request that no route has seen: without the token, of another host, unreadable. As ``observe``."""
        self._refused[status] = self._refused.get(status, 0) + 1

    def _observe_plugin(self, plugin: str, seconds: float) -> None:
        timing = self._plugins.get(plugin)
        if timing is None and len(self._plugins) < _MOST_PLUGINS:
            timing = self._plugins[plugin] = Timing()
        if timing is not None:
            timing.add(seconds)

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus-client asks for them."""
        requests = [
            ((verb, route or "none", str(status)), each)
            for (verb, route, status), each in self._requests.copy().items()
        ]
        labels = ("verb", "route", "status")
        counts = CounterMetricFamily("mldb_requests", "Requests answered", labels=labels)
        for values, timing in requests:
            counts.add_metric(values, timing.count)
        yield counts
        yield _histogram("mldb_request_seconds", "Seconds until the answer began", labels, requests)
        refused = CounterMetricFamily("mldb_requests_refused", "Requests refused before any route", labels=("status",))
        for status, count in self._refused.copy().items():
            refused.add_metric((str(status),), count)
        yield refused
        plugins = [((plugin,), timing) for plugin, timing in self._plugins.copy().items()]
        yield _histogram("mldb_plugin_request_seconds", "Seconds that routes of a plugin took", ("plugin",), plugins)
        yield GaugeMetricFamily("mldb_requests_in_flight", "Requests being answered", value=self.in_flight)


def _histogram(
    name: str, help: str, labels: tuple[str, ...], timings: Iterable[tuple[tuple[str, ...], Timing]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help, labels=labels)
    for values, timing in timings:
        family.add_metric(values, timing.cumulative(), timing.seconds)
    return family
