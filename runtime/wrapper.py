"""``mldb_wrapper``: checked calls over the raw ``mldb`` object (plugin-runtime.md §9)."""

from __future__ import annotations

import io
import json
import threading
import unittest
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from runtime.calls import parameter, procedure_path, run_path, steps_of, with_run_on_creation

_REDIRECTS: Final = 10
_MODULE: Final = "mldb.mldb_wrapper.mldb_wrapper"  # the name that MLDB shows for these classes in exception objects


class MldbBaseException(Exception):
    """Base of what checked calls raise."""

    __module__ = _MODULE


class TooManyRedirectsException(Exception):
    """Raised by checked calls after ten redirects in a row."""

    __module__ = _MODULE


class ResponseException(MldbBaseException):
    """Raised by checked calls for a status below 200 or from 400 up; ``response`` is the answer."""

    __module__ = _MODULE

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        return f"Response status code: {self.response.status_code}. Response text: {self.response.text}"


class TestSuiteFailureException(MldbBaseException):
    """Raised by ``run_tests`` when a test failed; ``response`` is unittest's result."""

    __module__ = _MODULE
    __test__ = False

    def __init__(self, response: unittest.TestResult) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        return f"Test failed: {self.response!r}"


class Headers(dict[str, str]):
    """Headers with their names as sent, found by any case."""

    def _key(self, name: str) -> str:
        if dict.__contains__(self, name):
            return name
        lower = name.lower()
        return next((key for key in self if key.lower() == lower), name)

    def __getitem__(self, name: str) -> str:
        return dict.__getitem__(self, self._key(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and dict.__contains__(self, self._key(name))

    def get(self, name: str, default: Any = None) -> Any:
        return dict.get(self, self._key(name), default)


class Response:
    """An answer, with the names that ``requests`` has."""

    __module__ = _MODULE

    # `requests` has these too; the in-process answer has nothing to fill them with.
    apparent_encoding = close = conn = content = cookies = elapsed = encoding = error = "unimplemented"
    history = iter_content = iter_lines = links = ok = raise_for_status = reason = request = "unimplemented"

    def __init__(self, url: str, raw_response: dict[str, Any]) -> None:
        self.url = url
        self.raw = raw_response
        self.status_code: int = raw_response["statusCode"]
        self.text: str = raw_response.get("response", "")
        self.headers = Headers((name, value) for name, value in raw_response.get("headers", ()))

    def json(self) -> Any:
        """The body as a value; ``ValueError`` when it is no JSON."""
        return json.loads(self.text)

    def __str__(self) -> str:
        return self.text


class WrappedMldb:
    """The raw object with ``get``, ``put``, ``post``, ``delete``, ``query`` and the test runner."""

    def __init__(self, raw: Any) -> None:
        self._raw: Any = raw._raw if isinstance(raw, WrappedMldb) else raw

    def __getattr__(self, name: str) -> Any:
        """All that the raw object offers is offered here too."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._raw, name)

    def get(self, url: str, data: Any = None, **kwargs: Any) -> Response:
        """GET; keywords become query parameters, ``data`` the JSON body."""
        params = [[name, parameter(value)] for name, value in kwargs.items()]
        return self._checked("GET", url, params, data)

    def put(self, url: str, data: Any = None, asynch: bool = False, **kwargs: Any) -> Response:
        return self._checked("PUT", url, [], data, _async_headers(asynch, kwargs))

    def post(self, url: str, data: Any = None, asynch: bool = False, **kwargs: Any) -> Response:
        return self._checked("POST", url, [], data, _async_headers(asynch, kwargs))

    def delete(self, url: str) -> Response:
        return self._checked("DELETE", url, [], None)

    def put_async(self, url: str, data: Any = None) -> Response:
        return self.put(url, data, asynch=True)

    def post_async(self, url: str, data: Any = None) -> Response:
        return self.post(url, data, asynch=True)

    def delete_async(self, url: str) -> Response:
        return self._checked("DELETE", url, [], None, [["async", "true"]])

    def query(self, query: str) -> list[list[Any]]:
        """The rows of an SQL query in ``table`` format, the header first."""
        rows: list[list[Any]] = self.get("/v1/query", {"q": query, "format": "table"}).json()
        return rows

    def _checked(self, verb: str, url: str, params: Any, data: Any, headers: Any = ()) -> Response:
        response = Response(url, self._raw.perform(verb, url, params, data, headers))
        for _ in range(_REDIRECTS):
            if not 300 <= response.status_code < 400:
                break
            url = response.headers["location"]
            response = Response(url, self._raw.perform("GET", url))
        else:
            raise TooManyRedirectsException(f"more than {_REDIRECTS} redirects from {url}")
        if response.status_code < 200 or response.status_code >= 400:
            raise ResponseException(response)
        return response

    def run_tests(self) -> str:
        """Run the unittest classes of the script; logs the report. ``TestSuiteFailureException`` on failure."""
        report = io.StringIO()
        program = unittest.main(
            module="__main__",
            argv=self._test_arguments(),
            exit=False,
            testRunner=unittest.TextTestRunner(report, verbosity=2, buffer=True),
        )
        self.log(report.getvalue())
        if not program.result.wasSuccessful() or program.result.unexpectedSuccesses:
            raise TestSuiteFailureException(program.result)
        if self._raw.script is not None:
            self._raw.script.set_return("success")
        return "success"

    def _test_arguments(self) -> list[str]:
        args = self._raw.script.args if self._raw.script is not None else None
        if isinstance(args, list) and args and args[0]:
            return ["python", *map(str, args)]
        return ["python"]

    def post_run_and_track_procedure(self, payload: Mapping[str, Any], refresh_rate_sec: float = 10) -> Response:
        """Create a procedure, run it and log its progress meanwhile; the run's answer, also of a failed run."""
        procedure = self.post("/v1/procedures", with_run_on_creation(payload, False)).json()["id"]
        done = threading.Event()
        monitor = threading.Thread(target=self._track, args=(procedure, refresh_rate_sec, done), daemon=True)
        monitor.start()
        try:
            return self.post(f"{procedure_path(procedure)}/runs", {})
        except ResponseException as error:
            return error.response
        finally:
            done.set()
            monitor.join()

    def _track(self, procedure: str, refresh_rate_sec: float, done: threading.Event) -> None:
        steps = StepsLogger(self)
        while not done.wait(refresh_rate_sec):
            for run in self._running(procedure):
                steps.log_progress_steps(steps_of(run))

    def _running(self, procedure: str) -> Iterator[dict[str, Any]]:
        for name in self.get(f"{procedure_path(procedure)}/runs").json():
            run = Response(name, self._raw.perform("GET", run_path(procedure, name)))
            if run.status_code < 400 and run.json().get("state") == "executing":
                yield run.json()


def _async_headers(asynch: bool, keywords: dict[str, Any]) -> list[list[str]]:
    wanted = keywords.pop("async", asynch)
    if keywords:
        raise TypeError(f"unexpected keyword argument '{next(iter(keywords))}'")
    return [["async", "true"]] if wanted else []


class StepsLogger:
    """Logs the steps of a run: those under way each time that it is told of them, those that ended once."""

    def __init__(self, mldb: Any) -> None:
        self.log = mldb.log
        self.done_steps: set[str] = set()

    def log_progress_steps(self, progress_steps: list[dict[str, Any]]) -> None:
        for step in progress_steps:
            name = step["name"]
            if "started" not in step or name in self.done_steps:
                continue
            began = datetime.fromisoformat(step["started"])
            if "ended" in step:
                self.done_steps.add(name)
                took, how = datetime.fromisoformat(step["ended"]) - began, "completed in"
            else:
                took, how = datetime.now(UTC) - began, "running since"
            value = step.get("value", 0.0)
            self.log(f"{name} {how} {took.total_seconds()} seconds - {step.get('type', '')} {value}")


class MldbWrapper:
    """The name ``mldb_wrapper``: ``wrap`` and the classes."""

    jsonlib = json

    MldbBaseException = MldbBaseException
    ResponseException = ResponseException
    Response = Response
    StepsLogger = StepsLogger
    TestSuiteFailureException = TestSuiteFailureException
    TooManyRedirectsException = TooManyRedirectsException

    @staticmethod
    def wrap(mldb: Any) -> WrappedMldb:
        """Checked calls for a raw object; an object already wrapped is fine."""
        return WrappedMldb(mldb)


mldb_wrapper = MldbWrapper()
