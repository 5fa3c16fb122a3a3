"""Runs contenders in turn and tells medians and ratios.

Contenders take turns (A B C, A B C, …), so that a machine that becomes slower for a while slows all of them.
The quoted figure is the median; the ratio is that of the medians, and its spread that of the turns.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROUNDS = 5
SLOW_SECONDS = 180  # a contender that takes longer is measured once, except ours


@dataclass(frozen=True)
class Contender:
    """Something that can be measured: ``measure()`` gives one figure in the unit of its comparison.

    Where results may differ in quality, it gives the figure and the quality. ``once``: not to be measured again.
    """

    name: str
    measure: Callable[[], float | tuple[float, float]]
    once: bool = False


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
    quality: str = ""
    qualities: Mapping[str, list[float]] = field(default_factory=dict)

    def markdown(self) -> str:
        ours = next(iter(self.figures.values()))
        lines = [f"**{self.title}**" + (f" (goal: {self.goal})" if self.goal else ""), ""]
        more = f" {self.quality} |" if self.quality else ""
        lines += [f"| | median, {self.unit} | lowest – highest | MLDB against it |{more}", "|---|---|---|---|"]
        lines[-1] += "---|" if more else ""
        for name, values in self.figures.items():
            spread = f"{_digits(min(values))} – {_digits(max(values))}" if len(values) > 1 else "once"
            line = f"| {name} | {_digits(median(values))} | {spread} | {_ratios(ours, values)} |"
            lines.append(f"{line} {median(self.qualities[name]):.4f} |" if more else line)
        return "\n".join(lines)


def compare(
    title: str,
    unit: str,
    contenders: Sequence[Contender],
    *,
    goal: str = "",
    better: str = "less",
    quality: str = "",
    rounds: int = ROUNDS,
    warm: bool = True,
) -> Comparison:
    """Measure the contenders in turn; the first round warms up and is not counted, unless they do so by themselves.

    Each figure is also told on standard error as soon as it is there.
    """
    slow: set[str] = set()
    figures: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    qualities: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(rounds + warm):
        for contender in contenders:
            if turn and (contender.once or contender.name in slow):
                continue
            began = time.monotonic()
            figure = contender.measure()
            taken, reached = figure if isinstance(figure, tuple) else (figure, 0.0)
            _tell(title, contender.name, f"{_digits(taken)} {unit}" + (f", {quality} {reached:.4f}" if quality else ""))
            if turn or not warm:
                figures[contender.name].append(taken)
                qualities[contender.name].append(reached)
                if contender is not contenders[0] and time.monotonic() - began > SLOW_SECONDS:
                    slow.add(contender.name)
    return Comparison(title, unit, figures, goal, better, quality, qualities)


def _tell(*parts: str) -> None:
    print(time.strftime("%H:%M:%S"), *parts, sep="  ", file=sys.stderr, flush=True)


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
    ratio = f"{median(ours) / median(theirs):.2f}"
    turns = [a / b for a, b in zip(ours, theirs, strict=False)]
    return f"{ratio} ({min(turns):.2f} – {max(turns):.2f})" if len(turns) > 1 else ratio


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
