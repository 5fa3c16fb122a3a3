"""Runs contenders in turn and tells medians and ratios.

Contenders take turns (A B C, A B C, …), so that a machine that becomes slower for a while slows all of them.
The quoted figure is the median; the ratio is that of the medians, and its spread that of the turns.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROUNDS = 5


@dataclass(frozen=True)
class Contender:
    """Something that can be measured: ``measure()`` gives one figure in the unit of its comparison."""

    name: str
    measure: Callable[[], float]


@dataclass(frozen=True)
class Comparison:
    """The figures of one comparison; the first contender is ours.

    ``better`` says which way is good (``more`` requests a second, ``less`` milliseconds); ``goal`` is the text of
    what we aim at.
    """

    title: str
    unit: str
    figures: dict[str, list[float]]
    goal: str = ""
    better: str = "less"

    def markdown(self) -> str:
        ours = next(iter(self.figures.values()))
        lines = [f"**{self.title}**" + (f" (goal: {self.goal})" if self.goal else ""), ""]
        lines += [f"| | median, {self.unit} | lowest – highest | MLDB against it |", "|---|---|---|---|"]
        for name, values in self.figures.items():
            spread = f"{_digits(min(values))} – {_digits(max(values))}"
            lines.append(f"| {name} | {_digits(median(values))} | {spread} | {_ratios(ours, values)} |")
        return "\n".join(lines)


def compare(
    title: str,
    unit: str,
    contenders: Sequence[Contender],
    *,
    goal: str = "",
    better: str = "less",
) -> Comparison:
    """Measure the contenders in turn; the first round warms up and is not counted."""
    figures: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(ROUNDS + 1):
        for contender in contenders:
            figure = contender.measure()
            if turn:
                figures[contender.name].append(figure)
    return Comparison(title, unit, figures, goal, better)


def machine() -> str:
    """What the figures were taken on, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"Python {platform.python_version()}, {os.cpu_count()} cores ({names[0] if names else model})"


def _ratios(ours: list[float], theirs: list[float]) -> str:
    if ours is theirs:
        return "1"
    turns = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{median(ours) / median(theirs):.2f} ({min(turns):.2f} – {max(turns):.2f})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
