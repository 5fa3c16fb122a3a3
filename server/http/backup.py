"""``GET /v1/backup``: the data root as one archive, while the server works."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import IO

from server.entities.backup import write_backup
from server.entities.routes import Call
from server.errors import MldbError
from server.http.answers import content
from server.http.host import Host
from server.messages import Response

_CHUNK = 1 << 20


def register(host: Host) -> None:
    host.resources.add(
        "GET", "/v1/backup", partial(_backup, host), summary="The data root as an archive for mldb restore",
        replies=content("application/zstd"),
        result="a .tar.zst file",
    )  # fmt: skip


def _backup(host: Host, call: Call) -> Response:
    if call.request.in_process:
        raise MldbError("a backup is for whoever runs the server, not for plugin code", code=403)
    # Packed whole before the first byte is sent: a failure is an error answer, not a broken archive.
    file = tempfile.TemporaryFile(dir=host.settings.scratch)  # noqa: SIM115 - closed by the stream
    try:
        write_backup(host.settings, host.services.database, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    name = time.strftime("mldb-%Y%m%d-%H%M%S.tar.zst", time.gmtime())
    headers = [("Content-Disposition", f'attachment; filename="{name}"')]
    return Response(200, _chunks(file), "application/zstd", headers)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
