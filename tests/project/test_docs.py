"""The pages cannot drift from the code: what is generated is current, what is linked exists, what is code parses."""

from __future__ import annotations

import ast
import importlib.util
import json
import re

import pytest

from tests.project.pages import Block, anchors, blocks, links, pages
from tests.project.sources import ROOT

ALL_BLOCKS = [block for page in pages() for block in blocks(page)]


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current():
    stale = [file.name for file, text in generator().pages().items() if not file.exists() or file.read_text() != text]
    assert not stale, "run make docs"


def test_every_setting_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for line in generator().settings_table().splitlines():
        assert line in readme


def test_every_declared_type_says_what_it_is():
    for item in generator().declared():
        assert len(item.summary) >= 10, item.name
        assert not item.summary.rstrip().endswith(":"), item.name


def test_every_parameter_is_described():
    bare = [
        f"{item.kind} {item.name}: {name}"
        for item in generator().declared()
        for name, info in item.params.model_fields.items()
        if not info.description and name != "runOnCreation"
    ]
    assert not bare


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(target), link


def test_every_page_can_be_reached_from_the_readme():
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if ":" not in link]
    assert {page for page in pages() if page.is_relative_to(ROOT / "docs")} <= seen


@pytest.mark.parametrize("block", [b for b in ALL_BLOCKS if b.language == "python"], ids=lambda block: block.id)
def test_python_in_the_pages_parses(block: Block):
    ast.parse(block.text)


@pytest.mark.parametrize("block", [b for b in ALL_BLOCKS if b.language == "json"], ids=lambda block: block.id)
def test_json_in_the_pages_parses(block: Block):
    json.loads(block.text)


def test_make_verbs_in_the_pages_exist():
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in pages():
        code = " ".join(re.findall(r"`make ([a-z]+)", page.read_text()))
        assert set(code.split()) <= verbs, page.name


def test_flags_in_the_pages_exist():
    """A page that names a flag of ``mldb serve`` names one that is there."""
    known = {line.split("`")[1] for line in generator().settings_table().splitlines()[2:]}
    known |= {"--help"}
    for page in pages():
        for call in re.findall(r"mldb serve ([^`\n]*)", page.read_text()):
            assert set(re.findall(r"--[a-z-]+", call)) <= known, f"{page.name}: {call}"


def test_files_and_names_of_the_ways_through_the_code_exist():
    """Behind a path of the tables stand names that it defines: `Name` or `Name.method`."""
    ways, _, _ = (ROOT / "docs" / "architecture.md").read_text().partition("## Layers")
    found = re.findall(r"`([\w/]+/[\w/]*(?:\.\w+)?)`((?:(?:[:,] )`[A-Za-z_.]+`)*)", ways)
    assert len(found) > 50
    for path, names in found:
        assert (ROOT / path.removesuffix("/")).exists(), path
        for name in re.findall(r"`([A-Za-z_.]+)`", names) if path.endswith(".py") else ():
            text = (ROOT / path).read_text()
            assert all(re.search(rf"(class|def) {part}\b", text) for part in name.split(".")), f"{path}: {name}"
