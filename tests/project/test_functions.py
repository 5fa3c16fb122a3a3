"""Functions stay small and typed, as the style of the project asks."""

from __future__ import annotations

from statistics import median, quantiles

from tests.project.sources import functions, modules


def lengths() -> dict[str, int]:
    return {
        f"{name}:{function.lineno} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for name, module in modules().items()
        for function in functions(module)
    }


def test_no_function_is_longer_than_a_page():
    assert not {where: lines for where, lines in lengths().items() if lines > 70}


def test_most_functions_are_short():
    measured = list(lengths().values())
    assert median(measured) <= 8
    assert quantiles(measured, n=10)[-1] <= 30


def test_functions_say_what_they_return():
    untyped = [
        f"{name}:{function.lineno} {function.name}"
        for name, module in modules().items()
        for function in functions(module)
        if function.returns is None
    ]
    assert not untyped


def test_nothing_is_left_for_later():
    marks = ("TODO", "FIXME", "XXX", "HACK")
    left = [
        f"{module.file.name}:{number}"
        for module in modules().values()
        for number, line in enumerate(module.file.read_text().splitlines(), 1)
        if any(f"# {mark}" in line for mark in marks)
    ]
    assert not left
