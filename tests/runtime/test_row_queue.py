"""Single rows that are sent together: order, errors, bounds."""

import threading

import pytest

from runtime import recording
from runtime.connection import current_request
from runtime.row_queue import RowQueue
from tests.waiting import until


class Host:
    """Takes rows when it is let."""

    def __init__(self):
        self.open = threading.Event()
        self.bodies = []
        self.refuse = {}

    def send(self, path, body):
        self.open.wait()
        self.bodies.append((path, body))
        if path in self.refuse:
            raise RuntimeError(self.refuse[path])


@pytest.fixture
def host():
    host = Host()
    yield host
    host.open.set()


def rows_of(host):
    return [(path, body.strip(b"[]\n").split(b",")) for path, body in host.bodies]


def test_rows_gather_while_the_host_is_busy(host):
    rows = RowQueue(host.send)
    for number in range(5):
        rows.put("/a", b"%d" % number)
    rows.put("/b", b"5")
    rows.put("/a", b"6")
    host.open.set()
    rows.flush()
    sent = rows_of(host)
    assert [row for _, batch in sent for row in batch] == [b"%d" % number for number in range(7)]
    assert len(sent) < 7
    assert [path for path, _ in sent][-2:] == ["/b", "/a"]


def test_a_flush_waits_for_what_was_put_before_it(host):
    rows = RowQueue(host.send)
    rows.put("/a", b"1")
    waiter = threading.Thread(target=rows.flush)
    waiter.start()
    waiter.join(0.05)
    assert waiter.is_alive()
    host.open.set()
    waiter.join(10)
    assert rows_of(host) == [("/a", [b"1"])]


def test_what_is_refused_is_raised_once_by_the_next_thing_done_with_the_dataset(host):
    host.refuse["/a"] = "it is gone"
    host.open.set()
    rows = RowQueue(host.send)
    rows.put("/a", b"1")
    rows.flush()
    rows.put("/b", b"2")
    with pytest.raises(RuntimeError, match="it is gone"):
        rows.put("/a", b"3")
    rows.finish(current_request.get())
    assert rows_of(host) == [("/a", [b"1"]), ("/b", [b"2"])]


def test_the_end_of_a_request_raises_what_was_refused_in_it(host):
    host.refuse["/a"] = "it is gone"
    host.open.set()
    rows = RowQueue(host.send)
    token = current_request.set(7)
    try:
        rows.put("/a", b"1")
    finally:
        current_request.reset(token)
    rows.finish(8)
    with pytest.raises(RuntimeError, match="it is gone"):
        rows.finish(7)
    rows.finish(7)


def test_who_records_more_than_the_host_takes_waits(host, monkeypatch):
    monkeypatch.setattr("runtime.row_queue._MOST_BYTES", 10)
    rows = RowQueue(host.send)
    done = []

    def record():
        for number in range(100):
            rows.put("/a", b"%010d" % number)
            done.append(number)

    recorder = threading.Thread(target=record)
    recorder.start()
    until(lambda: len(done) >= 2)
    recorder.join(0.05)
    assert len(done) < 10
    host.open.set()
    recorder.join(10)
    rows.flush()
    assert sum(len(batch) for _, batch in rows_of(host)) == 100


@pytest.mark.parametrize(
    ("name", "cells", "beyond_doubt"),
    [
        ("r", [["x", 1, 0]], True),
        ("r", [], True),
        ("r", [["x", 1, "2015-01-01T00:00:00Z"]], True),
        ("r", [["x", 1, "2015-13-01T00:00:00Z"]], False),
        ("r", [["x", 1, "soon"]], False),
        ("r\0", [["x", 1, 0]], False),
        ([], [["x", 1, 0]], False),
        ("r", [[[], 1, 0]], False),
        ("r", [[["x", "y\0"], 1, 0]], False),
    ],
)
def test_rows_that_the_host_might_refuse_do_not_wait(name, cells, beyond_doubt):
    assert recording.is_beyond_doubt(recording.name(name), recording.cells(cells)) == beyond_doubt
