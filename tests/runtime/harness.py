"""A plugin under supervision without HTTP, with an in-process host that answers for real."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runtime.local_executor import LocalExecutor
from runtime.messages import Call, Code, Launch, Limits, LogLine, PluginRequest, Reply
from runtime.starting import run_script
from runtime.supervisor import Supervisor


@dataclass
class Host:
    """Echoes calls, and answers calls of ``/v1/plugins/p/routes…`` by the plugin itself."""

    executor: LocalExecutor
    lines: list[LogLine] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    plugin: Supervisor | None = None

    async def perform(self, call: Call) -> Reply:
        self.calls.append(call)
        routes = "/v1/plugins/p/routes"
        if call.path.startswith(routes) and self.plugin is not None:
            remaining = call.path.removeprefix(routes)
            answer = await self.plugin.request(
                PluginRequest(call.verb, call.path, remaining, call.params, call.body, call.headers)
            )
            return Reply(answer.code, answer.body, "application/json")
        if call.path == "/missing":
            return Reply(404, b'{"error":"it is missing","httpCode":404}', "application/json")
        body = {"verb": call.verb, "params": call.params, "body": call.body.decode()}
        return Reply(200, json.dumps(body).encode(), "application/json", [("X-Echo", "yes")])

    async def script(self, source: str, args=None, **limits):
        launch = Launch(
            "script",
            "script",
            main=Code("/main.py", source=source),
            args=None if args is None else json.dumps(args).encode(),
        )
        return await run_script(
            launch, executor=self.executor, limits=Limits(**limits), perform=self.perform, log=self.lines.append
        )

    def logged(self) -> list[str]:
        return [line.text or "" for line in self.lines]


def launch_of(folder: Path) -> Launch:
    return Launch(
        "plugin",
        "p",
        main=Code(f"file://{folder}/main.py", path=str(folder / "main.py")),
        routes=Code(f"file://{folder}/routes.py", path=str(folder / "routes.py")),
        folder=str(folder),
        plugin_dir=str(folder),
    )


@asynccontextmanager
async def host():
    executor = LocalExecutor()
    try:
        yield Host(executor)
    finally:
        await executor.close()


@asynccontextmanager
async def plugin(host: Host, folder: Path, main: str = "", routes: str | None = None, **limits):
    (folder / "main.py").write_text(main)
    if routes is not None:
        (folder / "routes.py").write_text(routes)
    supervisor = Supervisor(
        lambda: launch_of(folder),
        executor=host.executor,
        limits=Limits(**limits),
        perform=host.perform,
        log=host.lines.append,
    )
    host.plugin = supervisor
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


def get(remaining: str = "", **members) -> PluginRequest:
    fields = {"verb": "GET", "params": [], "body": b"", "headers": {}, **members}
    return PluginRequest(path="/v1/plugins/p/routes" + remaining, remaining=remaining, **fields)
