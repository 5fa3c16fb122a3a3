"""Watching folders."""

import threading

from runtime.watcher import Watcher


def test_changes_of_code_are_told_until_the_watch_is_stopped(tmp_path):
    watcher = Watcher()
    watcher.start()
    told = threading.Event()
    watch = watcher.watch(tmp_path, lambda paths: told.set())
    (tmp_path / "main.py").write_text("1")
    assert told.wait(10)
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
