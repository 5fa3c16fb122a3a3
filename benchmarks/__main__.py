"""``python -m benchmarks [NAME …] [--quick] [--write]``: run all or some, print tables, or put them into the page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import images, imports, learning, results, routes, shapes, sparse, sql, storage
from benchmarks.load import generator
from benchmarks.runner import Comparison, machine

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def learn(quick: bool = False) -> Iterator[Comparison]:
    yield from learning.forests(quick)
    yield from shapes.shapes(quick)


BENCHMARKS: Mapping[str, Callable[[], Iterator[Comparison]]] = {
    "routes": routes.noop_routes,
    "functions": routes.function_application,
    "queries": sql.dense_queries,
    "small-query": sql.small_query,
    "results": results.results,
    "compiling": results.compiling,
    "sparse": sparse.sparse_queries,
    "import": imports.text_import,
    "images": images.image_features,
    "learning": learn,
    "storage": storage.layouts,
}
# Those that have a short form: minutes instead of an hour, for ratios at a glance.
QUICK: Mapping[str, Callable[[bool], Iterator[Comparison]]] = {
    "learning": learn,
    "storage": storage.layouts,
}
LOADED = ("routes", "functions")  # those that need a generator of load
ROUNDS = {"learning": "three (once above three minutes)", "sparse": "three (five for the last two)"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--write", action="store_true", help=f"replace the tables in {PAGE.name}")
    parser.add_argument("--quick", action="store_true", help=f"the short form, of {', '.join(QUICK)}")
    arguments = parser.parse_args()
    if arguments.quick and not set(arguments.names) <= set(QUICK):
        parser.error(f"--quick is for {', '.join(QUICK)}")
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in arguments.names or (QUICK if arguments.quick else BENCHMARKS):
        section = measured(name, arguments.quick)
        if arguments.write:
            write(name, section)


def measured(name: str, quick: bool = False) -> str:
    words = f'"{name} --quick"' if quick else name
    load = f", load from {generator()}" if name in LOADED else ""
    rounds = f"medians of {ROUNDS.get(name, 'five')}" if not quick else "each once"
    head = f"`make bench ARGS={words}`: {rounds}. {machine()}{load}.\n"
    print(head)
    tables = []
    for comparison in QUICK[name](True) if quick else BENCHMARKS[name]():
        tables.append(comparison.markdown() + "\n")
        print(tables[-1], flush=True)
    return "\n".join([head, *tables])


def write(name: str, section: str) -> None:
    """Put the section between its marks in the page."""
    page = PAGE.read_text()
    marks = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(re.escape(marks[0]) + ".*?" + re.escape(marks[1]), re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE} has no marks for {name}")
    PAGE.write_text(pattern.sub(lambda _: f"{marks[0]}\n{section}{marks[1]}", page))


if __name__ == "__main__":
    main()
