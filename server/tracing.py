"""Traces: spans of requests, queries, plugin workers and jobs, sent to an OpenTelemetry collector when one is named.

Without the setting ``otlp-endpoint`` nothing is imported and a span costs a comparison. The way in and out is the W3C
header ``traceparent``: a span of a caller becomes the parent, plugin code finds the header among those of its request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from server.extras import missing

_tracer: Any = None
_NONE: Final = nullcontext()


def configure(endpoint: str) -> None:
    """Send spans to a collector, such as ``http://localhost:4318``; ``ValueError`` when the extra is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ValueError(missing("the setting otlp-endpoint", "telemetry").message) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "mldb"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    use(provider)


def use(provider: Any) -> None:
    """Make spans with this provider from now on; None makes none."""
    global _tracer
    _tracer = provider.get_tracer("mldb") if provider is not None else None


def span(name: str, headers: Mapping[str, str] | None = None, **attributes: Any) -> AbstractContextManager[Any]:
    """A span around the block, below the one under way, or below the caller's that ``headers`` name."""
    return _NONE if _tracer is None else _span(name, headers, attributes)


@contextmanager
def _span(name: str, headers: Mapping[str, str] | None, attributes: dict[str, Any]) -> Iterator[Any]:
    context = None
    if headers is not None:
        from opentelemetry.propagate import extract

        context = extract(headers)
    with _tracer.start_as_current_span(name, context, attributes=attributes) as current:
        yield current


@contextmanager
def detached(name: str) -> Iterator[None]:
    """A span without spans below it, for blocks that are suspended meanwhile, such as generators."""
    begun = None if _tracer is None else _tracer.start_span(name)
    try:
        yield
    finally:
        if begun is not None:
            begun.end()


def past(name: str, begun: float, ended: float, **attributes: Any) -> None:
    """A span of something that is over, below the one under way; when, in seconds of the epoch."""
    if _tracer is not None:
        made = _tracer.start_span(name, start_time=round(begun * 1e9), attributes=attributes)
        made.end(round(ended * 1e9))


def outgoing() -> dict[str, str]:
    """The headers that tell a worker which span it works for."""
    headers: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.propagate import inject

        inject(headers)
    return headers
