"""The fork server: a small process without threads from which every worker is forked, in milliseconds.

It is started by exec, imports what all workers need (and, as the template of an environment, third-party modules),
and then does three things: it forks a worker for each order, kills workers with all their descendants, and reports
who ended. When its control socket closes, the host is gone and everything dies.

Control messages (one datagram each, msgpack): from the host ``["fork", order, memory, open_files]`` with the worker's
socket and output pipe, ``["kill", pid]``; to the host ``["ready", failed_imports]``, ``["forked", order, pid]``,
``["failed", order, text]``, ``["ended", pid, wait_status]``.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgpack

from runtime import linux, worker

MESSAGE_LIMIT: Final = 64 * 1024
_LINK: Final = 3  # descriptor of the host's socket in a worker


class ForkServer:
    """The process's state: its control socket and its workers."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: set[int] = set()
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def run(self, modules: Sequence[str]) -> NoReturn:
        failed = preload(modules)
        gc.collect()
        gc.freeze()  # what all workers share is never walked, so never copied
        self._tell("ready", failed)
        while True:
            control = self._control.fileno()
            readable, _, _ = select.select([control, self._wake], [], [])
            if self._wake in readable:
                self._drain()
                self._reap()
            if control in readable:
                self._take()

    def _drain(self) -> None:
        try:
            while os.read(self._wake, 4096):
                continue
        except BlockingIOError:
            return

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._workers:
                self._workers.discard(pid)
                self._sweep()
                self._tell("ended", pid, status)

    def _sweep(self) -> None:
        """Kill what the ended worker left behind: as orphans they have become our children."""
        for child in linux.children(os.getpid()):
            if child not in self._workers:
                linux.kill_tree(child)

    def _take(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_LIMIT, 4)
        except ConnectionResetError:
            message = b""
        if not message:
            self._end()
        name, *rest = msgpack.unpackb(message)
        if name == "fork":
            order, memory, open_files = rest
            self._fork(order, memory, open_files, descriptors)
        elif name == "kill" and rest[0] in self._workers:
            linux.kill_tree(rest[0])

    def _fork(self, order: int, memory: int, open_files: int, descriptors: list[int]) -> None:
        pid, failure = -1, ""
        try:
            pid = os.fork()
        except OSError as error:
            failure = str(error)
        if pid == 0:
            self._become_worker(memory, open_files, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid < 0:
            self._tell("failed", order, failure)
        else:
            self._workers.add(pid)
            self._tell("forked", order, pid)

    def _become_worker(self, memory: int, open_files: int, link: int, output: int) -> NoReturn:
        """In the child: keep nothing but the socket and the output pipe, then be a worker."""
        try:
            signal.set_wakeup_fd(-1)
            # The fork server's handler of SIGTERM would end the workers of other plugins.
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            parent = os.getppid()
            os.setsid()
            linux.die_with_parent(parent, signal.SIGKILL)
            linux.adopt_orphans()
            worker.main(_tidy_descriptors(link, output), lambda: linux.limit(memory, open_files))
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def _tell(self, *message: Any) -> None:
        try:
            self._control.send(msgpack.packb(message))
        except OSError:
            self._end()

    def _end(self) -> NoReturn:
        for pid in list(self._workers):
            linux.kill_tree(pid)
        self._sweep()
        os._exit(0)


def _tidy_descriptors(link: int, output: int) -> socket.socket:
    """0 reads nothing, 1 and 2 write to the output pipe, 3 is the host; all others are closed."""
    link, output = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 64) for number in (link, output))  # out of the way
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, source in enumerate((nothing, output, output)):
        os.dup2(source, number)
    os.dup2(link, _LINK, inheritable=False)
    linux.close_all_from(_LINK + 1)
    return socket.socket(fileno=_LINK)


def preload(modules: Sequence[str]) -> list[str]:
    """Import modules, never use them; names of those that could not be."""
    failed = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:
            # Whatever keeps it from being imported here will be met, and told, where the plugin imports it.
            failed.append(name)
    return failed


def main(control: int, project: str, extra_paths: Sequence[str], modules: Sequence[str]) -> NoReturn:
    """Entry point of the process: see ``executor.command``."""
    linux.die_with_parent(os.getppid(), signal.SIGTERM)
    linux.adopt_orphans()
    server = ForkServer(socket.socket(fileno=control))
    signal.signal(signal.SIGTERM, lambda *_: server._end())
    # Plugins see the host's packages, not its source tree, which an editable install puts on the path once more.
    sys.path[:] = [path for path in sys.path if path != project]
    at = next((number for number, path in enumerate(sys.path) if "site-packages" in path), len(sys.path))
    sys.path[at:at] = extra_paths  # before the host's packages, behind the standard library
    server.run(modules)
