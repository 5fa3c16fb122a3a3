"""Each promise of the security page names the tests that prove it, and these exist."""

from __future__ import annotations

import ast
import re

from tests.project.sources import ROOT

PAGE = ROOT / "docs" / "security.md"


def promises() -> list[tuple[str, list[str]]]:
    """Promise and named tests of each row of the table."""
    section = PAGE.read_text().partition("## Promises and proofs")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [(row.split("|")[1].strip(), re.findall(r"`(tests/[^`]+)`", row)) for row in rows]


def test_every_promise_has_a_proof():
    assert len(promises()) >= 10
    assert not [promise for promise, proofs in promises() if not proofs]


def test_every_proof_exists():
    missing = [proof for _, proofs in promises() for proof in proofs if not exists(proof)]
    assert not missing


def exists(proof: str) -> bool:
    """``tests/area/test_module.py::test_name``; classes are left out of the name."""
    path, _, name = proof.partition("::")
    file = ROOT / path
    if not file.exists():
        return False
    tree = ast.parse(file.read_text())
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name for node in ast.walk(tree)
    )
