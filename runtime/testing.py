"""``MldbUnitTest``: assertions on query results (plugin-runtime.md §10)."""

# ruff: noqa: PT009 - it is a TestCase

from __future__ import annotations

import json
import re
import unittest
from types import TracebackType
from typing import Any

from runtime.wrapper import MldbBaseException

_LINE = "\n**********\n"


def _both(msg: str, result: Any, expected: Any) -> str:
    shown = [json.dumps(value, indent=4, ensure_ascii=False, default=str) for value in (result, expected)]
    return f"{msg}{_LINE}Result: {shown[0]}{_LINE}Expected: {shown[1]}"


class _RaisesContext:
    """Holds the exception that ``assertMldbRaises`` met."""

    def __init__(
        self, test: unittest.TestCase, expected_regexp: str | re.Pattern[str] | None, status_code: int | None
    ) -> None:
        self._test = test
        self._pattern = re.compile(expected_regexp) if expected_regexp else None
        self._status_code = status_code
        self.exception: Any = None

    def __enter__(self) -> _RaisesContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if error is None:
            raise self._test.failureException(f"{MldbBaseException} not raised")
        if not isinstance(error, MldbBaseException):
            return False
        self.exception = error
        self._check(error.response)  # type: ignore[attr-defined]
        return True

    def _check(self, response: Any) -> None:
        if self._pattern is not None and not self._pattern.search(response.text):
            raise self._test.failureException(f'"{self._pattern.pattern}" does not match "{response.text}"')
        if self._status_code is not None and response.status_code != self._status_code:
            differ = f"{response.status_code} != {self._status_code}"
            raise self._test.failureException(f"Status codes are not equal: {differ}")


class MldbUnitTest(unittest.TestCase):
    """Base of tests that run inside the server."""

    longMessage = True
    json = json  # tests write self.json

    # MLDB's tests, and those of its time, use names that unittest has dropped since, the last of them in Python 3.12.
    assert_ = unittest.TestCase.assertTrue
    assertEquals = unittest.TestCase.assertEqual
    assertNotEquals = unittest.TestCase.assertNotEqual
    assertAlmostEquals = unittest.TestCase.assertAlmostEqual
    assertNotAlmostEquals = unittest.TestCase.assertNotAlmostEqual
    assertItemsEqual = unittest.TestCase.assertCountEqual
    assertRegexpMatches = unittest.TestCase.assertRegex
    assertNotRegexpMatches = unittest.TestCase.assertNotRegex
    assertRaisesRegexp = unittest.TestCase.assertRaisesRegex

    def assertTableResultEquals(self, res: Any, expected: Any, msg: str = "") -> None:  # noqa: N802
        """Equal tables: the same set of columns in any order, the same rows in order."""
        self._assert_tables(res, expected)
        shown = _both(msg, res, expected)
        self.assertEqual(len(res), len(expected), shown)
        self.assertEqual(sorted(res[0]), sorted(expected[0]), shown)
        order = [res[0].index(column) for column in expected[0]]
        for row, wanted in zip(res[1:], expected[1:], strict=True):
            self.assertEqual([row[at] for at in order], list(wanted), shown)

    def _assert_tables(self, res: Any, expected: Any) -> None:
        for table in (res, expected):
            self.assertIsInstance(table, list, "a table is a list of rows")
            self.assertTrue(table, "a table has a header row at least")

    def assertFullResultEquals(self, res: Any, expected: Any, msg: str = "") -> None:  # noqa: N802
        """Equal results of the ``full`` format: rows in order, the cells of a row in any order."""
        shown = _both(msg, res, expected)
        self.assertEqual(len(res), len(expected), shown)
        for row, wanted in zip(res, expected, strict=True):
            self.assertEqual(row["rowName"], wanted["rowName"], shown)
            self.assertEqual(sorted(row["columns"]), sorted(wanted["columns"]), shown)

    def assertMldbRaises(  # noqa: N802
        self, expected_regexp: str | re.Pattern[str] | None = None, status_code: int | None = None
    ) -> _RaisesContext:
        """A context that expects a failing call; the pattern is searched in the answer's text."""
        return _RaisesContext(self, expected_regexp, status_code)
