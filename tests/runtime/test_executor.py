"""Where workers run: what was begun and given up, and templates that others have replaced, leave nothing behind."""

import asyncio
import os
from pathlib import Path

import pytest

from runtime import local_executor
from runtime.executor import Environment, WorkerFailure
from runtime.local_executor import LocalExecutor
from runtime.messages import Limits
from tests.runtime.harness import get, host, plugin
from tests.waiting import until_async


class Nobody:
    """Events of a worker that nobody waits for."""

    def __init__(self):
        self.exits = []

    def on_frame(self, frame):
        pass

    def on_output(self, text):
        pass

    def on_exit(self, reason):
        self.exits.append(reason)


def descendants(pid=None):
    """Processes below this one, zombies too."""
    found = []
    for task in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def descriptors(pid="self"):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def with_executor(work):
    async def run():
        executor = LocalExecutor()
        try:
            return await work(executor)
        finally:
            await executor.close()

    return asyncio.run(run())


def test_a_start_that_is_given_up_leaves_no_worker():
    async def work(executor):
        environment = Environment()
        await executor.warm(environment)
        (server,) = executor._servers.values()
        before = len(descendants()), descriptors()
        for _ in range(5):
            start = asyncio.ensure_future(executor.start(Nobody(), Limits(), environment))
            while not server._orders:  # noqa: ASYNC110 - the very moment in which it is under way
                await asyncio.sleep(0)
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
        await until_async(lambda: (len(descendants()), descriptors()) == before)

    with_executor(work)


@pytest.mark.parametrize("news", ["forked", "failed"])
def test_a_start_that_is_given_up_at_the_moment_of_its_news(news):
    async def work(executor):
        await executor.warm(Environment())
        (server,) = executor._servers.values()
        start = asyncio.ensure_future(executor.start(Nobody(), Limits(), Environment()))
        while not server._orders:  # noqa: ASYNC110 - the very moment in which it is under way
            await asyncio.sleep(0)
        (number,) = server._orders
        start.cancel()
        server._orders[number].forked.cancel()
        server._take([news, number, 2**22 + 1])  # a process that there is not
        with pytest.raises(asyncio.CancelledError):
            await start
        await until_async(lambda: not server.busy)

    with_executor(work)


def test_workers_that_cannot_be_forked_leave_no_open_files(tmp_path):
    refusal = "import os\n\n\ndef fork():\n    raise OSError(11, 'no more processes')\n\n\nos.fork = fork\n"
    (tmp_path / "no_forks.py").write_text(refusal)

    async def work(executor):
        environment = Environment((str(tmp_path),), ("no_forks",))
        await executor.warm(environment)
        (server,) = executor._servers.values()
        before = descriptors(), descriptors(server._process.pid)
        for _ in range(5):
            with pytest.raises(WorkerFailure, match="no more processes"):
                await executor.start(Nobody(), Limits(), environment)
        await until_async(lambda: (descriptors(), descriptors(server._process.pid)) == before)

    with_executor(work)


def test_templates_beyond_the_limit_end(monkeypatch):
    monkeypatch.setattr(local_executor, "MAX_TEMPLATES", 2)

    async def work(executor):
        others = set(descendants())  # of tests before this one
        for module in ("json", "csv", "html", "zipfile", "tarfile"):
            await executor.warm(Environment((), (module,)))
        await until_async(lambda: len(set(descendants()) - others) <= 3)

    with_executor(work)


def test_a_plugin_that_goes_while_it_is_reloaded_leaves_no_worker(tmp_path):
    async def run():
        async with host() as there, plugin(there, tmp_path, "", "request.set_return(1)") as supervisor:
            await supervisor.request(get())
            before = set(descendants()) - {supervisor.generation.worker.pid}
            (tmp_path / "main.py").write_text("import time\ntime.sleep(0.5)")
            reload = asyncio.ensure_future(supervisor.reload())
            await until_async(lambda: len(set(descendants()) - before) == 2)
            await supervisor.stop()
            assert not await reload
            await until_async(lambda: not set(descendants()) - before)
            assert supervisor.generation is None

    asyncio.run(run())
