"""How the progress of a run is shown: widgets with a cancel button in a notebook, bars in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol

_POLL_SECONDS: Final = 0.05


class Display(Protocol):
    """A place where steps are shown, as a context manager. ``cancel_asked`` turns true when its button is pressed."""

    cancel_asked: bool

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait(self, seconds: float, done: Callable[[], bool]) -> None:
        """Let time pass, until ``done()`` or a click."""

    def show(self, steps: list[dict[str, Any]]) -> None: ...


def display_for(notebook: bool) -> Display:
    return Widgets() if notebook and _in_notebook() else Bars()


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook that can show widgets."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    if getattr(get_ipython(), "kernel", None) is None:
        return False
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


def measured(step: dict[str, Any]) -> tuple[float, float | None, str]:
    """Value, total (None: unknown) and what is written beside the bar."""
    value = float(step.get("value", 0.0))
    if step.get("type", "percentile") == "percentile":
        return value, 1.0, f"{value:.0%}"
    return value, value if "ended" in step else None, f"{value:,.0f} {step['type']}"


class Bars:
    """Progress bars on standard error, where that is a terminal or the output of a notebook's cell."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn()
        console = Console(stderr=True)
        shown = console.is_terminal or console.is_jupyter
        self._progress = Progress(*columns, console=console, disable=not shown)
        self._tasks: dict[str, Any] = {}
        self.cancel_asked = False

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def wait(self, seconds: float, done: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not done():
            time.sleep(_POLL_SECONDS)

    def show(self, steps: list[dict[str, Any]]) -> None:
        if steps:  # without any there would be an empty line
            self._progress.start()
        for step in steps:
            value, total, note = measured(step)
            if step["name"] not in self._tasks:
                self._tasks[step["name"]] = self._progress.add_task(step["name"], total=total, note=note)
            self._progress.update(self._tasks[step["name"]], completed=value, total=total, note=note)


class Widgets:
    """Progress bars in the notebook, and a button that cancels the run.

    The kernel is busy with the cell meanwhile, and would act upon a click only when all is over. Where the page does
    not send clicks to a subshell, we learn of them from the thread that receives the kernel's messages, which asks the
    widget's channel where each is to go.
    """

    def __init__(self) -> None:
        import ipywidgets as widgets

        self._widgets = widgets
        self._button = widgets.Button(description="Cancel", icon="stop", tooltip="Stop the work of this run")
        self._button.on_click(self._clicked)
        channel = self._button.comm
        self._route = getattr(channel, "_reply_subshell_for", lambda _, subshell: subshell)
        channel._reply_subshell_for = self._received
        self._rows: dict[str, Any] = {}
        self._box = widgets.VBox([self._button])
        self.cancel_asked = False

    def _received(self, data: Any, subshell: str | None) -> str | None:
        if isinstance(data, dict) and (data.get("content") or {}).get("event") == "click":
            self.cancel_asked = True
        routed: str | None = self._route(data, subshell)
        return routed

    def _clicked(self, _: Any) -> None:
        self.cancel_asked = True

    def _acknowledge(self) -> None:
        self._button.disabled = True
        self._button.description = "Cancelling…"

    def __enter__(self) -> Widgets:
        from IPython.display import display

        display(self._box)  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar, _ in self._rows.values():
            bar.bar_style = "success" if error is None else "danger"
        self._button.close()
        self._box.children = self._box.children[1:]

    def wait(self, seconds: float, done: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not done() and not self.cancel_asked:
            time.sleep(_POLL_SECONDS)

    def show(self, steps: list[dict[str, Any]]) -> None:
        if self.cancel_asked:
            self._acknowledge()
        for step in steps:
            value, total, note = measured(step)
            if step["name"] not in self._rows:
                self._add(step["name"])
            bar, label = self._rows[step["name"]]
            bar.max = total if total else max(1.0, value)
            bar.value = value
            label.value = note

    def _add(self, name: str) -> None:
        bar = self._widgets.FloatProgress(description=name, style={"description_width": "initial"})
        label = self._widgets.Label()
        self._rows[name] = bar, label
        self._box.children = [*self._box.children, self._widgets.HBox([bar, label])]
