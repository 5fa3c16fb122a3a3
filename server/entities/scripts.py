"""The script runner: ``POST /v1/types/plugins/<language>/routes/run`` (plugin-runtime.md §7)."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from runtime import protocol
from runtime.executor import WorkerFailure
from runtime.generation import Answer, RequestFailed
from runtime.jsontext import encode_payload, to_bytes
from runtime.starting import run_script
from server import tracing
from server.declarations import Services
from server.entities import jsontext
from server.entities.plugin_host import PluginHost
from server.entities.plugin_sources import Opened, Opener
from server.entities.types import nearest_name
from server.errors import MldbError
from server.messages import Request, Response
from server.procedures.script_config import ScriptConfig

_SOURCE = "script runner plugin"


async def run(host: PluginHost, services: Services, request: Request, language: str) -> Response:
    """Run the script that the body describes in a worker of its own; its output object."""
    config = _read(request)
    opened = await asyncio.to_thread(
        Opener(services, language).script, config.address, config.source, as_file=config.writeSourceToFile
    )
    try:
        answer = await _run(host, opened, config, request)
    except RequestFailed as error:
        raise MldbError(str(error), code=error.code) from None
    except WorkerFailure as error:
        raise MldbError(str(error), code=503) from None
    finally:
        await asyncio.to_thread(opened.discard)
    end = b"" if request.in_process else b"\n"
    return Response(_status(answer), answer.output().free_form() + end)


def _read(request: Request) -> ScriptConfig:
    value = jsontext.parse(request.body)
    try:
        return ScriptConfig.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        if first["type"] == "extra_forbidden":
            nearest = nearest_name(where, ScriptConfig.model_fields)
            hint = f"; did you mean '{nearest}'?" if nearest else ""
            raise MldbError(f"unknown field parsing script configuration: '{where}'{hint}") from None
        raise MldbError(f"error parsing script configuration: field '{where}': {first['msg']}") from None


async def _run(host: PluginHost, opened: Opened, config: ScriptConfig, request: Request) -> Answer:
    args = None if config.args is None else to_bytes(encode_payload(config.args))
    launch = await asyncio.to_thread(opened.script, args, host.address, host.data_root)
    task = asyncio.ensure_future(
        run_script(
            launch,
            executor=host.executor,
            limits=host.limits(script=True),
            perform=host.perform,
            log=host.log(_SOURCE),
        )
    )
    if request.client is not None:
        request.client.on_gone(task.cancel)
    answer = await task
    tracing.past("script", answer.begun, answer.ended, raised=answer.kind == protocol.RAISED)
    return answer


def _status(answer: Answer) -> int:
    if answer.kind == protocol.RAISED:
        return 400
    return answer.code if answer.kind == protocol.RETURNED else 200
