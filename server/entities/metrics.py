"""What is counted while the server works, for ``GET /metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from server.entities.messages import Request

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class Metrics:
    """What is counted of one server. Routes are named by their templates: ids would be labels without end."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("verb", "route")
        self._requests = Counter("mldb_requests", "Requests answered", (*labels, "status"), registry=self.registry)
        self._seconds = Histogram(
            "mldb_request_seconds", "Time until the answer began", labels, buckets=_BUCKETS, registry=self.registry
        )
        self._plugins = Histogram(
            "mldb_plugin_request_seconds", "Time that routes of a plugin took", ("plugin",),
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("mldb_requests_in_flight", "Requests being answered", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def observe(self, request: Request, status: int, seconds: float) -> None:
        route = request.route or "none"
        self._requests.labels(request.verb, route, str(status)).inc()
        self._seconds.labels(request.verb, route).observe(seconds)
        if route.startswith("/v1/plugins/{plugin}/routes") and status != 404:
            self._plugins.labels(request.path.split("/", 4)[3]).observe(seconds)
