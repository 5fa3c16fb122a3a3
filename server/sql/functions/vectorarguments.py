"""Arguments that are vectors: embeddings, or rows of numbers (sql-dialect.md §8.7)."""

from __future__ import annotations

from server.sql import coerce
from server.sql.bound import Atom, Embedding, Row, Value, enumerate_elements, is_constant, latest_ts, spelled
from server.sql.functions.registry import number_argument
from server.sql.scope import Scope
from server.values.kinds import Kind
from server.values.paths import Path, natural_key


def null_of(args: list[Value]) -> Atom:
    return Atom("NULL", Kind.NULL, latest_ts(args), all(map(is_constant, args)))


def vector_argument(value: Value) -> Value:
    """A vector argument; of a row, embeddings whose length only the data tell are a rest."""
    lengths = isinstance(value, Row) and any(
        isinstance(leaf, Embedding) and leaf.shape is None and leaf.names is None for leaf in value.columns.values()
    )
    return spelled(value) if isinstance(value, Row) and lengths else value


def vector_numbers(value: Value, function: str, scope: Scope) -> str:
    """A vector argument as DOUBLE[], computed once per row; errors of elements name the function."""
    if isinstance(value, Row) and not value.rests:
        parts = [number_argument(leaf, function) for leaf in atoms_of(value).values()]
        return scope.stage(f"CAST([{', '.join(parts)}] AS DOUBLE[])")
    if isinstance(value, Embedding) and value.kind not in coerce.NUMERIC:
        element = number_argument(Atom("e", value.kind), function)
        return scope.stage(f"list_transform({value.sql}, lambda e: {element})")
    return scope.stage(coerce.as_double_list(value))


def atoms_of(row: Row) -> dict[Path, Atom]:
    """The atoms of a row of known columns by their paths, in natural order; embeddings are spelled out."""
    atoms: dict[Path, Atom] = {}
    for path, leaf in row.columns.items():
        if isinstance(leaf, Embedding):
            atoms.update({(*path, *below): element for below, element in enumerate_elements(leaf)})
        else:
            atoms[path] = coerce.atom(leaf)
    return {path: atoms[path] for path in sorted(atoms, key=natural_key)}
