"""Ports for programs that cannot be given an open socket, nor choose a port and say which."""

from __future__ import annotations

import random
import socket

# Below those that Linux hands out by itself, so that nobody is given the port before the program listens there.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
