"""The pages of ``docs/`` and of the repository's top level as one site: contents, search, links between them."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import orjson

from server.entities import markdown
from server.templating import markup, rendered

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
STATIC: Final = DOCS.parent / "static"

# Every page, in the order of reading, with what the contents call it.
CONTENTS: Final = {
    "Start": {
        "index.md": "Overview",
        "README.md": "README and settings",
        "tutorial.md": "Tutorial",
    },
    "Guides": {
        "plugin-guide.md": "Plugins",
        "sql-guide.md": "SQL",
        "models.md": "Models",
        "console.md": "Console",
        "command-line.md": "Command line",
        "client.md": "Python client",
        "plugins/image_classifier/doc/index.md": "Image classifier",
        "migrating-from-mldb.md": "Coming from MLDB",
    },
    "Notebooks": {
        "notebooks/index.md": "Running them",
        "notebooks/training.ipynb": "Training a classifier",
        "notebooks/text.ipynb": "Text",
        "notebooks/recommendation.ipynb": "Recommendation",
        "notebooks/images-tsne.ipynb": "A map of pictures",
    },
    "Reference": {
        "reference/types.md": "Types",
        "reference/learners.md": "Learners",
        "reference/functions.md": "Builtin functions",
    },
    "Running it": {
        "operations.md": "Operations",
        "security.md": "Security",
        "benchmarks.md": "Benchmarks",
    },
    "The project": {
        "architecture.md": "Architecture",
        "conformance.md": "Conformance",
        "CONTRIBUTING.md": "Contributing",
        "CHANGELOG.md": "Changelog",
    },
}
# Pages that lie above ``docs`` in the repository; a wheel has those of its top level in ``docs``.
_ABOVE: Final = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "plugins/image_classifier/doc/index.md"}
TITLES: Final = {name: title for group in CONTENTS.values() for name, title in group.items()}
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|[/#]")


def source(name: str) -> Path | None:
    """The file of a page; None for a name that the contents do not have."""
    if name not in TITLES:
        return None
    return next((file for file in (DOCS / name, DOCS.parent / name) if file.is_file()), None)


def text_of(name: str) -> str | None:
    """A page as Markdown; None for a name that is no page."""
    file = source(name)
    if file is None:
        return None
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        return notebook_markdown(json.loads(text))
    return text


def _relink(name: str, target: str) -> str | None:
    """Where a link of a page leads in this site; None for a file of the repository that the site does not show."""
    if _ELSEWHERE.match(target):
        return target
    path, mark, fragment = target.partition("#")
    place = posixpath.dirname(name if name in _ABOVE else f"docs/{name}")
    page = posixpath.normpath(posixpath.join(place, path)).removeprefix("docs/")
    if page not in TITLES and not page.startswith("images/"):
        return None
    shown = page if page.startswith("images/") else f"{page}.html"
    return posixpath.relpath(shown, posixpath.dirname(name) or ".") + mark + fragment


def notebook_markdown(notebook: dict[str, Any]) -> str:
    """The cells of a notebook and the text of their outputs."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [f"```\n{text.rstrip()}\n```" for text in map(_output, cell.get("outputs", ())) if text]
    return "\n\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    return "".join(output.get("text") or output.get("data", {}).get("text/plain") or ())


@cache
def search_index() -> bytes:
    """Every section of every page as JSON: page, heading, address below the site, text."""
    found = []
    for name, title in TITLES.items():
        for part in markdown.sections(text_of(name) or ""):
            address = f"{name}.html#{part.anchor}" if part.anchor else f"{name}.html"
            found.append((title, part.title, address, part.text))
    return orjson.dumps(found)


def page(text: str, name: str, *, root: str, static: str, served: bool = False) -> bytes:
    """A page with the contents beside it, and the pages before and after it in the order of reading.

    ``root`` is the address of the site's top, ``static`` that of its styles; ``served`` beside the console.
    """
    names = list(TITLES)
    at = names.index(name) if name in TITLES else len(names)
    return rendered(
        "doc.html",
        title=markdown.title(text) or TITLES.get(name, "MLDB"),
        name=name,
        root=root,
        static=static,
        served=served,
        contents=CONTENTS,
        titles=TITLES,
        body=markup(markdown.body(text, partial(_relink, name))),
        before="".join(names[max(at - 1, 0) : at]) if name in TITLES else "",
        after="".join(names[at + 1 : at + 2]),
        sections=[part for part in markdown.sections(text) if part.level in (2, 3)],
    ).encode()


def site() -> Iterator[tuple[str, bytes]]:
    """Every page as a file of a static site: its path and its content."""
    for name in TITLES:
        root = "../" * name.count("/")
        text = text_of(name)
        if text is None:
            continue
        content = page(text, name, root=root, static=root)
        yield f"{name}.html", content
        if name == "index.md":
            yield "index.html", content
        if (file := source(name)) is not None and name.endswith(".ipynb"):
            yield name, file.read_bytes()
    for picture in sorted(DOCS.rglob("images/*.png")):
        yield str(picture.relative_to(DOCS)), picture.read_bytes()
    for style in ("tokens.css", "markdown.css", "doc/doc.css", "doc/doc.js"):
        yield style, (STATIC / style).read_bytes()
    yield "search.json", search_index()
