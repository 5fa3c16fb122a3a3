"""``python -m benchmarks [NAME …] [--write]``: run all or some, print Markdown tables, or put them into the page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import images, imports, routes, sql
from benchmarks.load import generator
from benchmarks.runner import Comparison, machine

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BENCHMARKS: Mapping[str, Callable[[], Iterator[Comparison]]] = {
    "routes": routes.noop_routes,
    "functions": routes.function_application,
    "queries": sql.dense_queries,
    "small-query": sql.small_query,
    "import": imports.text_import,
    "images": images.image_features,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--write", action="store_true", help=f"replace the tables in {PAGE.name}")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in arguments.names or BENCHMARKS:
        section = measured(name)
        if arguments.write:
            write(name, section)


def measured(name: str) -> str:
    head = f"`make bench ARGS={name}`: medians of five. {machine()}, load from {generator()}.\n"
    print(head)
    tables = []
    for comparison in BENCHMARKS[name]():
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
