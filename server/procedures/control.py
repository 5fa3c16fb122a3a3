"""``permuter.run``: a procedure with every combination of some parameters (entity-types.md §3.22)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from server.declarations import Creation, EntityType, ProcedureParams, Progress, RunResult, StatelessProcedure
from server.errors import MldbError

Leaf = tuple[tuple[str, ...], Any]
_NUMBER = "$permutation"


class PermuterParams(ProcedureParams):
    """Parameters of permuter.run."""

    procedure: dict[str, Any] = Field(description="Config of the procedure to run")
    permutations: dict[str, Any] = Field(description="Parameters of it, each with a list of the values to try")


class Permuter(StatelessProcedure):
    def run(self, params: PermuterParams, progress: Progress) -> RunResult:
        combinations = list(permuted(params.permutations))
        progress.step("permutations", "counter")
        results = []
        for number, leaves in enumerate(combinations, 1):
            progress.check()
            config = params.procedure | {"params": with_leaves(params.procedure.get("params") or {}, leaves)}
            config = numbered(config, number)
            found = self.services.run_procedure(config)
            results.append({"configuration": config["params"], "results": found.status})
            progress.update(number)
        return RunResult(results)


def permuted(permutations: dict[str, Any]) -> Iterator[Sequence[Leaf]]:
    """Every combination of the lists at the leaves, the last one varying fastest."""
    leaves = list(_lists((), permutations))
    for values in itertools.product(*(choices for _, choices in leaves)):
        yield [(path, value) for (path, _), value in zip(leaves, values, strict=True)]


def _lists(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    if isinstance(value, dict):
        for name, member in sorted(value.items()):
            yield from _lists((*path, name), member)
    elif isinstance(value, list):
        yield path, value
    else:
        raise MldbError(f"permutations must be lists of values, but '{'.'.join(path)}' is not one")


def with_leaves(params: dict[str, Any], leaves: Sequence[Leaf]) -> dict[str, Any]:
    """A copy of parameters with some members, however deep, set."""
    changed = copy.deepcopy(params)
    for path, value in leaves:
        parent = changed
        for name in path[:-1]:
            parent = parent.setdefault(name, {})
        parent[path[-1]] = value
    return changed


def numbered(value: Any, number: int) -> Any:
    """A copy with the number of the permutation in the place of its placeholder."""
    if isinstance(value, str):
        return value.replace(_NUMBER, f"permutation_{number}")
    if isinstance(value, dict):
        return {name: numbered(member, number) for name, member in value.items()}
    return [numbered(item, number) for item in value] if isinstance(value, list) else value


def create(creation: Creation) -> Permuter:
    list(_lists((), creation.params.permutations))
    if creation.params.procedure.get("id") == creation.id:
        raise MldbError("Procedure contains itself as a child")
    return Permuter(creation.services)


TYPES = [
    EntityType(
        kind="procedure",
        name="permuter.run",
        params=PermuterParams,
        summary="Run a procedure with every combination of some parameters",
        create=create,
        doc=(
            "`permutations` has the shape of the procedure's parameters with lists of values in their places. The "
            "run's status is a list of each combination with its result; `$permutation` in a text is its number."
        ),
    )
]
