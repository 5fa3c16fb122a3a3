"""Regular expressions that are matched for a limited time."""

from __future__ import annotations

import threading
import time

import pytest

from server.errors import MldbError
from server.values import regexes
from server.values.regexes import Pattern

HONEST = Pattern("x+x+[0-9]")  # cubic: a tenth of a second for the text
TEXT = "x" * 500
ENDLESS = Pattern("(?:x|xx)*[0-9]")


def burn(until: threading.Event) -> None:
    pattern = regexes.regex.compile(HONEST.pattern)
    while not until.is_set():
        pattern.search(TEXT[:200], concurrent=True)


def test_what_other_threads_do_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.thread_time()
    assert not HONEST.finds(TEXT)
    monkeypatch.setattr(regexes, "TIME_LIMIT", 3 * (time.thread_time() - began))
    ended = threading.Event()
    burners = [threading.Thread(target=burn, args=(ended,)) for _ in range(8)]
    for burner in burners:
        burner.start()
    try:
        assert not HONEST.finds(TEXT)
    finally:
        ended.set()
        for burner in burners:
            burner.join()


def test_what_takes_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regexes, "TIME_LIMIT", 0.05)
    with pytest.raises(MldbError, match=r"longer than the 0\.05 s that the setting regex-time allows"):
        ENDLESS.finds(TEXT)
