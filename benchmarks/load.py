"""Requests a second over kept-alive connections: ``wrk`` where it is installed, else a client of our own.

The client is a process of its own, so that it does not share an interpreter lock with what it measures.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time

SECONDS = 3


def generator() -> str:
    """Which load generator this machine has."""
    return "wrk" if shutil.which("wrk") else "python -m benchmarks.load"


def requests_per_second(port: int, path: str, connections: int) -> float:
    """``RuntimeError`` when any answer was not 2xx."""
    if shutil.which("wrk"):
        return _wrk(port, path, connections)
    command = [sys.executable, "-m", "benchmarks.load", str(port), path, str(connections)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _wrk(port: int, path: str, connections: int) -> float:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", f"http://127.0.0.1:{port}{path}"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in shown or "Socket errors" in shown:
        raise RuntimeError(f"{path}: {shown}")
    found = re.search(r"Requests/sec:\s*([\d.]+)", shown)
    if not found:
        raise RuntimeError(shown)
    return float(found[1])


async def _hammer(port: int, path: str, connections: int) -> float:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    until = time.monotonic() + SECONDS
    counts = await asyncio.gather(*(_connection(port, request, until) for _ in range(connections)))
    return sum(counts) / SECONDS


async def _connection(port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.monotonic() < until:
        writer.write(request)
        await _answer(reader)
        count += 1
    writer.close()
    return count


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 2"):
        raise RuntimeError(head.decode())
    length = re.search(rb"content-length: (\d+)", head)
    if length:
        await reader.readexactly(int(length[1]))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


if __name__ == "__main__":
    print(asyncio.run(_hammer(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
