"""Frames: bodies in parts, and what a worker cannot do to the host with them."""

from __future__ import annotations

import asyncio
import time
from asyncio.events import Handle

import msgpack
import pytest

from runtime import protocol
from tests.runtime.harness import get, host, plugin
from tests.waiting import slowness

BODY = bytes(range(256)) * (64 << 12)  # 64 MiB


def wire(frame):
    packed = msgpack.packb(frame)
    return len(packed).to_bytes(4, "big") + packed


def test_a_body_comes_in_parts_among_other_frames():
    frame = [protocol.RETURN, 3, 200, BODY[: 5 << 20], "text/plain", []]
    parts, last = protocol.in_parts(frame, 7)
    reader = protocol.FrameReader()
    for part in parts:
        assert len(part) <= protocol.PART_SIZE + 100
        assert list(reader.feed(part + wire([protocol.PING, 1]))) == [[protocol.PING, 1]]
    assert list(reader.feed(last)) == [frame]
    assert reader.unfinished == 0


def test_a_body_that_is_given_up_is_forgotten():
    parts, last = protocol.in_parts([protocol.RETURN, 3, 200, BODY[: 5 << 20], "", []], 7)
    reader = protocol.FrameReader()
    assert list(reader.feed(next(parts) + wire([protocol.DROP, 7]))) == []
    assert reader.unfinished == 0
    with pytest.raises(protocol.ProtocolError, match="out of place"):
        list(reader.feed(last))


def test_small_frames_stay_whole():
    assert protocol.in_parts([protocol.RETURN, 3, 200, b"small", "", []], 7) is None
    assert protocol.in_parts([protocol.PING, 1], 7) is None


def test_bodies_have_a_limit(monkeypatch):
    monkeypatch.setattr(protocol, "FRAME_LIMIT", 3 << 20)
    with pytest.raises(ValueError, match="dataset"):
        protocol.in_parts([protocol.RETURN, 3, 200, bytes(4 << 20), "", []], 7)
    reader = protocol.FrameReader(protocol.FROM_WORKER)
    parts = [wire([protocol.PART, number, bytes(1 << 20)]) for number in range(4)]
    with pytest.raises(protocol.ProtocolError, match="more than"):
        list(reader.feed(b"".join(parts)))


@pytest.mark.parametrize(
    "frame",
    [
        [protocol.PART, 1],
        [protocol.PART, 1, "text"],
        [protocol.PART, "one", b"x"],
        [protocol.LAST, 1, 3, [protocol.RETURN]],
        [protocol.LAST, 1, 3, "frame"],
        [protocol.LAST, 1, 4, [protocol.LAST, 1, 1, []]],
        [protocol.DROP],
    ],
)
def test_parts_are_checked(frame):
    reader = protocol.FrameReader(protocol.FROM_WORKER)
    list(reader.feed(wire([protocol.PART, 1, b"x"])))
    with pytest.raises(protocol.ProtocolError):
        list(reader.feed(wire(frame)))


@pytest.mark.parametrize("many", [b"\x90", b"\x80", b"\x92\x90\x80"])
def test_a_frame_that_would_be_a_thousand_times_as_large_is_refused(many):
    count = (8 << 20) // len(many)
    packed = b"\xdc\x00\x02\x05\xdd" + count.to_bytes(4, "big") + many * count
    reader = protocol.FrameReader(protocol.FROM_WORKER)
    with pytest.raises(protocol.ProtocolError, match="lists and maps"):
        list(reader.feed(len(packed).to_bytes(4, "big") + packed))


def test_a_frame_of_a_worker_may_not_be_as_large_as_a_body():
    reader = protocol.FrameReader(protocol.FROM_WORKER)
    with pytest.raises(protocol.ProtocolError, match="over the limit"):
        list(reader.feed((protocol.FROM_WORKER + 1).to_bytes(4, "big")))


def test_large_bodies_do_not_hold_up_the_event_loop(tmp_path, monkeypatch):
    """No step of the loop takes as much of the processor as copying the body once would."""
    longest = 0.0
    step = Handle._run

    def timed(handle):
        nonlocal longest
        begun = time.thread_time()
        step(handle)
        longest = max(longest, time.thread_time() - begun)

    async def work():
        async with host() as there, plugin(there, tmp_path, routes="request.send_file(request.body)") as supervisor:
            await supervisor.request(get())
            monkeypatch.setattr(Handle, "_run", timed)
            answers = await asyncio.gather(*(supervisor.request(get(verb="POST", body=BODY)) for _ in range(2)))
            monkeypatch.undo()
            return answers

    answers = asyncio.run(work())
    assert all(answer.body == BODY for answer in answers)
    begun = time.thread_time()
    bytearray(BODY)
    assert longest < max(0.02 * slowness(), time.thread_time() - begun)
