"""Which file a path of a static folder means."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.folders import DOC, STATIC, FolderError, Folders, open_inside
from tests.runtime.harness import get, host, plugin
from tests.waiting import SOON, until

ROUNDS = 3000


@contextmanager
def repeating(work: Callable[[], None]) -> Iterator[None]:
    """Do it over and over in a thread."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def seen_of(folder: Path, name: str, wanted: set[bytes | None]) -> set[bytes | None]:
    """What is read in many rounds, and for as long as one of the ``wanted`` is missing: it was no race without them."""
    seen = {read(folder, name) for _ in range(ROUNDS)}
    until(lambda: seen.add(read(folder, name)) or wanted <= seen)
    return seen


def read(folder: Path, name: str) -> bytes | None:
    try:
        with open_inside(folder, name) as stream:
            return stream.read()
    except OSError:
        return None


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_changes_while_it_is_opened(tmp_path: Path, what: str):
    """Whatever it points to at which moment: the page is read, or nothing."""
    static, outside = tmp_path / "static", tmp_path / "outside"
    for folder, content in ((static / "inside", "page"), (outside, "secret")):
        folder.mkdir(parents=True)
        (folder / "a").write_text(content)
    link = static / "link"
    good, bad = (static / "inside", outside) if what == "folder" else (static / "inside" / "a", outside / "a")
    name = "link/a" if what == "folder" else "link"

    def swap() -> None:
        for target in (good, bad):
            (static / "next").symlink_to(target)
            (static / "next").replace(link)

    swap()
    with repeating(swap):
        seen = seen_of(static, name, {b"page", None})
    assert seen == {b"page", None}


def test_a_folder_that_is_swapped_for_a_link(tmp_path: Path):
    """Exchanging the folder itself for a link to elsewhere gives nothing away either."""
    static, outside = tmp_path / "static", tmp_path / "outside"
    for folder, content in ((static / "sub", "page"), (outside, "secret")):
        folder.mkdir(parents=True)
        (folder / "a").write_text(content)
    (static / "link").symlink_to(outside)

    def swap() -> None:
        (static / "sub").rename(static / "kept")
        (static / "link").rename(static / "sub")
        (static / "sub").rename(static / "link")
        (static / "kept").rename(static / "sub")

    with repeating(swap):
        seen = seen_of(static, "sub/a", {b"page"})
    assert b"secret" not in seen


@pytest.mark.parametrize("folder", ["nothing", "loop", "x" * 5000, "a\0b"])
@pytest.mark.parametrize("kind", [STATIC, DOC])
def test_what_is_no_folder_is_refused(tmp_path: Path, folder: str, kind: str):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FolderError, match="does not exist"):
        Folders(str(tmp_path)).register(kind, "/s", folder)


def test_a_plugin_is_told_of_a_folder_that_cannot_be_looked_up(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    main = """
try:
    mldb.plugin.serve_static_folder("/s", "loop")
except RuntimeError as error:
    told = str(error)
"""

    async def run() -> bytes:
        async with (
            host() as there,
            plugin(there, tmp_path, main, "request.set_return(told)", start_seconds=SOON) as supervisor,
        ):
            return (await supervisor.request(get())).body

    assert "does not exist" in json.loads(asyncio.run(run()))
