"""How SQL learns that it is to stop."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.entities.progress import TaskProgress
from server.errors import Cancelled
from server.sql import tasks
from server.storage.database import Database
from tests.waiting import PATIENCE, SOON


def test_tasks_are_nested_and_belong_to_threads() -> None:
    outer, inner = TaskProgress(), TaskProgress()
    assert tasks.current() is None
    with tasks.acting_for(outer):
        with tasks.acting_for(inner):
            assert tasks.current() is inner
        with tasks.acting_for(None):
            assert tasks.current() is None
        assert tasks.current() is outer
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(tasks.current).result() is None
        inner.cancel()
        tasks.check()
        outer.cancel()
        with pytest.raises(Cancelled):
            tasks.check()
    tasks.check()


def test_numbers_are_found_while_they_are_lent() -> None:
    progress = TaskProgress()
    with tasks.found_by_number(progress) as first, tasks.found_by_number(progress) as second:
        assert first != second
        assert tasks.find(first) is tasks.find(second) is progress
    assert tasks.find(first) is None
    assert tasks.find(None) is None


def test_the_variable_is_set_only_where_it_is_asked_for() -> None:
    database, progress = Database(), TaskProgress()
    asking = f"SELECT {tasks.TASK_SQL}"
    with database.cursor() as cursor:
        with tasks.numbered(cursor, progress, "SELECT 1"):
            assert cursor.execute(asking).fetchall() == [(None,)]
        with tasks.numbered(cursor, None, asking):
            assert cursor.execute(asking).fetchall() == [(None,)]
        with tasks.numbered(cursor, progress, asking):
            ((number,),) = cursor.execute(asking).fetchall()
            assert tasks.find(number) is progress
        assert tasks.find(number) is None
    database.close()


def test_stoppable_work_ends_at_once() -> None:
    progress, over = TaskProgress(), threading.Event()
    threading.Timer(0.1, progress.cancel).start()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        tasks.stoppable(progress, lambda: over.wait(PATIENCE))
    assert time.monotonic() - begun < SOON
    over.set()


def test_stoppable_work_gives_its_result_and_its_error() -> None:
    progress = TaskProgress()
    assert tasks.stoppable(progress, tasks.current) is progress
    assert tasks.stoppable(None, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        tasks.stoppable(progress, lambda: 1 // 0)
    progress.cancel()
    with pytest.raises(Cancelled):
        tasks.stoppable(progress, lambda: pytest.fail("it was cancelled before it began"))


def test_interrupts_are_called_once_and_only_inside() -> None:
    progress = TaskProgress()
    called: list[int] = []
    with tasks.interrupted(progress, lambda: called.append(1)):
        pass
    progress.cancel()
    assert called == []
    with tasks.interrupted(progress, lambda: called.append(2)):  # it came before
        assert called == [2]
    with tasks.interrupted(None, lambda: called.append(3)):
        pass
    assert called == [2]


def test_many_tasks_at_once_do_not_mix() -> None:
    def work(number: int) -> bool:
        progress = TaskProgress()
        with tasks.acting_for(progress), tasks.found_by_number(progress) as lent:
            if number % 2:
                progress.cancel()
            time.sleep(0.001)
            found = tasks.find(lent)
            return found is progress and tasks.current() is progress and tasks.is_over(found) == bool(number % 2)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(200)))
