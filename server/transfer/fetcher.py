"""Fetching URLs from queries: the ``fetcher`` function type and what the builtin ``fetcher(url)`` calls (§4.4)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Params
from server.errors import MldbError
from server.transfer.results import column_atoms
from server.transfer.schemes import has_scheme
from server.transfer.urls import Urls
from server.values.arrow_types import ARROW_TYPES
from server.values.atoms import atom_text
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind

Outcome = tuple[bytes | None, str | None, float]
INPUT = RowType((Column(("url",), Kind.STRING),))
OUTPUT = RowType((Column(("content",), Kind.BLOB), Column(("error",), Kind.STRING)))
_MOST_AT_ONCE = 32  # of a function without a limit of its own; more connections help no server


def fetch(urls: Urls, url: str, *, patient: bool = False) -> Outcome:
    """Content, or the text of the error, and the time of the last change (of the failure). Never raises.

    A text without a scheme is a file. ``patient``: no limit on slow servers.
    """
    try:
        found = urls.read(url if has_scheme(url) else f"file://{url}", patient=patient)
        return found.content, None, found.last_modified
    except MldbError as error:
        return None, error.message, time.time()
    except Exception as error:  # any defect of a codec or a remote store ends in the row's error
        return None, f"{type(error).__name__}: {error}", time.time()


def outcomes_batch(outcomes: Sequence[Outcome]) -> RowBatch:
    """Outcomes as rows of type ``OUTPUT``; a missing part is dated "not a date"."""
    contents = [content for content, _, _ in outcomes]
    errors = [error for _, error, _ in outcomes]
    times = [
        (math.nan if content is None else at, math.nan if error is None else at) for content, error, at in outcomes
    ]
    return RowBatch(
        OUTPUT,
        len(outcomes),
        [pa.array(contents, ARROW_TYPES[Kind.BLOB]), pa.array(errors, ARROW_TYPES[Kind.STRING])],
        [pa.array([pair[part] for pair in times], pa.float64()) for part in (0, 1)],
    )


class FetcherParams(Params):
    """Parameters of the function type."""

    maxConcurrentFetch: int = Field(
        -1, description="Number of URLs that are fetched at the same time; -1 leaves it to the server"
    )


class Fetcher:
    """The function entity."""

    input = INPUT
    output = OUTPUT
    timestamps = True

    def __init__(self, urls: Urls, limit: int, *, patient: bool = True) -> None:
        if limit == 0 or limit < -1:
            raise MldbError("maxConcurrentFetch accepts values equal or greater to 1 or equal to -1")
        self._urls = urls
        self._patient = patient
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE if limit < 0 else limit, thread_name_prefix="fetcher")

    def bind(self, given: RowType) -> BoundFunction:
        for column in given.columns:
            if column.shape is not None:
                raise MldbError("The input 'url' must be a single text, not an embedding")
        if not given.columns and not given.open:
            raise MldbError("the function 'fetcher' needs the input 'url'")
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        texts = map(atom_text, column_atoms(batch, "url"))
        return outcomes_batch(list(self._pool.map(lambda url: fetch(self._urls, url, patient=self._patient), texts)))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def create(creation: Creation) -> Fetcher:
    return Fetcher(creation.services.urls, creation.params.maxConcurrentFetch)


TYPES = [
    EntityType(
        kind="function",
        name="fetcher",
        params=FetcherParams,
        summary="Fetch the content of a URL",
        create=create,
        doc=(
            "Takes `url` and gives `content`, a blob dated by the time of its last change, and `error`, the text of "
            "what went wrong; one of them is null. A URL that cannot be read is never an error of the query."
        ),
    )
]
