"""What the kernel offers to keep a process and its descendants in hand."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with_parent(parent: int, by: signal.Signals) -> None:
    """Get a signal when the parent ends; ends at once when it already has."""
    _prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(1)


def become(command: list[str], parent: int) -> NoReturn:
    """Become another program, which is killed when the parent ends."""
    die_with_parent(parent, signal.SIGKILL)
    os.execv(command[0], command)  # noqa: S606 - the caller's own


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ended, so that none gets out of sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def limit(memory: int, open_files: int) -> None:
    """Limit this process: bytes of private writable memory, open files, no core files."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = open_files if most == resource.RLIM_INFINITY else min(open_files, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def children(pid: int) -> list[int]:
    """The direct children of a process, zombies left out."""
    return [child for child, parent in _parents() if parent == pid]


def _parents() -> list[tuple[int, int]]:
    """(process, parent) of all living processes."""
    pairs = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is needed
        if entry.isdigit():
            with suppress(OSError):
                state, parent, *_ = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                if state not in "ZX":
                    pairs.append((int(entry), int(parent)))
    return pairs


def kill_tree(pid: int) -> None:
    """Kill a process with all its descendants, those that left its group included."""
    _send(pid, signal.SIGSTOP)  # it must not fork while its children are looked up
    for child in children(pid):
        kill_tree(child)
    _send(pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def resident_bytes(pid: int) -> int:
    """Memory of a process that is its own (not shared with others); 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * resource.getpagesize()


def close_all_from(lowest: int) -> None:
    """Close every open file from this descriptor up."""
    highest = max(map(int, os.listdir("/proc/self/fd")), default=lowest)  # noqa: PTH208 - names are all that is needed
    os.closerange(lowest, highest + 1)
