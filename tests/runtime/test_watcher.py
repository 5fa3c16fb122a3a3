"""Watching folders."""

import shutil
import threading
import time

import pytest

from runtime.watcher import SETTLE_SECONDS, Watcher
from tests.waiting import PATIENCE


def test_changes_of_code_are_told_until_the_watch_is_stopped(tmp_path):
    watcher = Watcher()
    watcher.start()
    told = threading.Event()
    watch = watcher.watch(tmp_path, lambda paths: told.set())
    (tmp_path / "main.py").write_text("1")
    assert told.wait(PATIENCE)
    watch.stop()
    watch.stop()
    watcher.stop()


def test_watches_may_outlive_their_watcher(tmp_path):
    """Plugins are closed after the watcher when the server ends."""
    watcher = Watcher()
    watcher.start()
    watches = [watcher.watch(tmp_path, lambda paths: None) for _ in range(2)]
    watcher.stop()
    for watch in watches:
        watch.stop()


@pytest.fixture
def watcher():
    watcher = Watcher()
    watcher.start()
    yield watcher
    watcher.stop()


def test_what_fails_once_does_not_end_the_watching(watcher, tmp_path):
    told = threading.Event()

    def changed(_paths):
        if not told.is_set():
            told.set()
            raise FileNotFoundError("gone again")
        again.set()

    again = threading.Event()
    watcher.watch(tmp_path, changed)
    (tmp_path / "main.py").write_text("1")
    assert told.wait(PATIENCE)
    (tmp_path / "main.py").write_text("22")
    assert again.wait(PATIENCE)


def swapped(folder, new):
    folder.rename(folder.with_name("old"))
    new.rename(folder)


def made_anew(folder, new):
    shutil.rmtree(folder)
    shutil.rmtree(new)
    folder.mkdir()


def linked_elsewhere(folder, new):
    folder.unlink()
    folder.symlink_to(new)


@pytest.mark.parametrize("change", [swapped, made_anew, linked_elsewhere])
def test_a_folder_that_another_takes_the_place_of_is_told_and_watched(watcher, tmp_path, change):
    """As one deploys: the new version is put beside the old one, then they change places."""
    folder, new, first = tmp_path / "app", tmp_path / "new", tmp_path / "first"
    for each in (first, new):
        each.mkdir()
        (each / "main.py").write_text("1")
    if change is linked_elsewhere:
        folder.symlink_to(first)
    else:
        first.rename(folder)
    told = {name: threading.Event() for name in ("one", "other")}
    for event in told.values():
        watcher.watch(folder, lambda paths, event=event: event.set())
    change(folder, new)
    for event in told.values():
        assert event.wait(PATIENCE)
    time.sleep(5 * SETTLE_SECONDS)  # nothing more comes of it
    for event in told.values():
        event.clear()
    (folder / "main.py").write_text("2")
    for event in told.values():
        assert event.wait(PATIENCE)
