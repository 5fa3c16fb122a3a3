"""The resource table: one way in for HTTP and for plugin code (rest-api.md §1–3)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

from server.entities.json_answers import Answer, FreeForm, empty, encode, error_answer
from server.entities.parameters import Param
from server.entities.route_tree import Guard, RouteTree
from server.entities.routes import Call, Handler, Reply, Route, Spool, help_tree, read_arguments
from server.errors import MldbError, Vanished, from_defect, is_of_dropped_table
from server.logs import request_id
from server.messages import Request, Response

log = logging.getLogger("mldb.server")

VERBS: Final = ("GET", "PUT", "POST", "DELETE")
_THREADS: Final = 1024  # calls nest (a procedure runs a script that queries …): a small pool would deadlock
_READINGS: Final = 5  # of what is replaced again and again, before the reader hears of it


class Resources:
    """All routes, and the way in."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(_THREADS, "resource")
        self.routes: list[Route] = []
        self._tree = RouteTree()

    def add(
        self,
        verbs: str,
        template: str,
        handler: Handler,
        *params: Param,
        summary: str,
        replies: tuple[Reply, ...],
        result: str = "",
        inline: bool = False,
        lenient: bool = False,
        spool: Spool | None = None,
    ) -> None:
        """Declare a route for one verb or several (``"GET POST"``). Raises ValueError when it is there already."""
        awaited = inspect.iscoroutinefunction(handler)
        for verb in verbs.split():
            route = Route(verb, template, handler, params, summary, result, replies, inline, awaited, lenient, spool)
            self._tree.add(route)
            self.routes.append(route)

    def guard(self, plural: str, guard: Guard) -> None:
        """Ask ``guard(id)`` before anything below ``/v1/<plural>/<id>``; it raises when that cannot be reached."""
        self._tree.guard(plural, guard)

    def spool(self, verb: str, path: str) -> Spool | None:
        """Where the body of this request is to go; None: into memory. ``MldbError`` when it need not come at all."""
        match = self._tree.match(verb, path)
        if match.route is None or match.route.spool is None:
            return None
        match.route.spool.check(match.segments)
        return match.route.spool

    async def dispatch(self, request: Request) -> Response:
        """Answer a request. Never raises but for cancellation: errors become error bodies."""
        try:
            if request.verb == "OPTIONS":
                return encode(self._options(request), request)
            route, segments = self._tree.find(request)
            request.route = route.template
            call = Call(request, segments, read_arguments(route, request))
            return encode(await self._handled(route, call), request)
        except MldbError as error:
            return encode(error_answer(error), request)
        except Exception as error:
            defect = from_defect(error)
            if not isinstance(defect, Vanished):
                log.exception("%s %s failed", request.verb, request.path)
                defect.details = {"requestId": request_id.get()}
            return encode(error_answer(defect), request)

    async def _handled(self, route: Route, call: Call) -> Any:
        """What the handler gives. Reading is begun again when a dataset went away under it."""
        for _ in range(_READINGS - 1 if route.verb == "GET" else 0):
            try:
                return await self._once(route, call)
            except Vanished:
                continue
            except Exception as error:
                if not is_of_dropped_table(error):
                    raise
        return await self._once(route, call)

    async def _once(self, route: Route, call: Call) -> Any:
        if route.awaited:
            return await route.handler(call)
        if route.inline:
            return route.handler(call)
        return await self.in_thread(route.handler, call)

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What work gives that may wait; its errors come out here."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, copy_context().run, work, *arguments)

    async def own(self, route: Callable[..., Any], *arguments: Any) -> Any:
        """What an entity's or a type's own route answers, be it a coroutine function or not."""
        if inspect.iscoroutinefunction(route):
            return await route(*arguments)
        return await self.in_thread(route, *arguments)

    def _options(self, request: Request) -> Answer:
        found = [self._tree.match(verb, request.path).route for verb in VERBS]
        allowed = [route for route in found if route is not None]
        if not allowed:
            return empty(400)
        verbs = ",".join(route.verb for route in allowed)
        return FreeForm(help_tree(allowed), 200, [("Allow", verbs)])
