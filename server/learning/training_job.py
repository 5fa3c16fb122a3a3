"""Training in a job process: the rows of a query go there in a file, the model comes back in another."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.declarations import Progress, QueryResult, Services
from server.errors import MldbError
from server.learning.row_files import write_rows

Report = Callable[[str, str, float], None]  # of a job: step, type and value, as ``Progress`` takes them
_SMALLEST_STEP, _SECONDS = 0.01, 0.5  # progress is told in steps no finer than this, but where they take long


@dataclass(frozen=True)
class TrainingFiles:
    """The files of a training; a job finds their folder under ``folder`` of its arguments."""

    folder: Path

    @property
    def rows(self) -> Path:
        """See ``row_files``."""
        return self.folder / "rows.arrow"

    @property
    def model(self) -> Path:
        return self.folder / "model"


@contextmanager
def training_files(services: Services) -> Iterator[TrainingFiles]:
    """Files that go when the block ends."""
    with tempfile.TemporaryDirectory(prefix="training-", dir=services.settings.scratch) as folder:
        yield TrainingFiles(Path(folder))


@contextmanager
def trained_in_job(
    services: Services, result: QueryResult, job: str, arguments: Mapping[str, Any], progress: Progress, *, empty: str
) -> Iterator[TrainingFiles]:
    """What the job has made of a query's rows; the files go when the block ends. ``MldbError(empty)`` without rows.

    ``job`` is ``module:function``; it is given the arguments and the ``folder``.
    """
    with training_files(services) as files:
        if not write_rows(files.rows, result, progress):
            raise MldbError(empty)
        services.job(job, {**arguments, "folder": str(files.folder)}, progress)
        yield files


def throttled(step: str, report: Report) -> Callable[[float], None]:
    """A tick that reports a step's progress, but not more often than anyone could see."""
    report(step, "percentile", 0.0)
    last, told = 0.0, time.monotonic()

    def tick(share: float) -> None:
        nonlocal last, told
        if share <= last:
            return
        now = time.monotonic()
        if share >= last + _SMALLEST_STEP or share >= 1 or now > told + _SECONDS:
            last, told = share, now
            report(step, "percentile", min(share, 1.0))

    return tick
