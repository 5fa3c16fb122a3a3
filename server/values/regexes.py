"""Regular expressions that users write: matched for a limited time, and without holding the interpreter.

A pattern such as ``(a+)+$`` takes exponential time on some texts; Python's own module would stop every thread
meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import regex

from server.errors import MldbError

# Seconds that one text may take; the setting regex-time. Honest patterns need microseconds.
TIME_LIMIT = 1.0
_MOST_OF_IT = 0.9  # the two clocks do not tick together
_T = TypeVar("_T")


class Pattern:
    """A compiled pattern. Its methods raise ``MldbError`` when the time is over."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        """``ValueError`` for what is no pattern."""
        self.pattern = pattern
        try:
            self._compiled = regex.compile(pattern, flags | regex.VERSION0)
        except (regex.error, OverflowError, RecursionError) as error:
            raise ValueError(str(error)) from None

    def matches(self, text: str) -> bool:
        """Whether it matches the whole text."""
        return self._bounded(self._compiled.fullmatch, text) is not None

    def finds(self, text: str) -> bool:
        """Whether it matches anywhere in the text."""
        return self._bounded(self._compiled.search, text) is not None

    def replace(self, text: str, replacement: Callable[[Any], str]) -> str:
        """The text with all matches replaced by what the function makes of them."""
        return str(self._bounded(self._compiled.sub, replacement, text))

    def _bounded(self, method: Callable[..., _T], *arguments: Any) -> _T:
        try:
            return method(*arguments, concurrent=True, timeout=TIME_LIMIT)
        except TimeoutError:
            return self._measured(method, *arguments)

    def _measured(self, method: Callable[..., _T], *arguments: Any) -> _T:
        """As ``_bounded``, once the time is over by a clock that counts what all threads of the process do: that of
        this thread alone costs a quarter of a search, and so is looked at only now."""
        allowed = TIME_LIMIT
        while True:
            began = time.thread_time()
            try:
                return method(*arguments, concurrent=True, timeout=allowed)
            except TimeoutError:
                if time.thread_time() - began >= TIME_LIMIT * _MOST_OF_IT:
                    break
                allowed *= 2
        raise MldbError(
            f"the regular expression '{self.pattern}' took longer than the {TIME_LIMIT:g} s that the setting "
            "regex-time allows for one text: nested repetitions such as (a+)+ are the usual cause"
        )
