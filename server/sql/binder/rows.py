"""SELECT lists and row literals: wildcards, renaming, AS *, COLUMN EXPR (sql-dialect.md §4.4)."""

from __future__ import annotations

from dataclasses import replace

from server.errors import MldbError
from server.sql.binder.base import at, bind, binds
from server.sql.binder.columnexpr import column_expression
from server.sql.bound import (
    Atom,
    Embedding,
    MultiValue,
    Open,
    Rest,
    Row,
    RowBuilder,
    Value,
    is_null,
    present,
    spelled,
)
from server.sql.duck import literal_text, macro
from server.sql.positions import did_you_mean
from server.sql.relations import Relation, require_row
from server.sql.scope import NoScope, OverlayScope, Scope, TableScope
from server.sql.tree import Clause, ColumnExpr, ColumnRef, Exclusion, Extract, Flatten, Item, RowLiteral, Wildcard
from server.values.paths import Path, format_path


def bind_clauses(clauses: tuple[Clause, ...], scope: Scope, *, inside: bool = False) -> Row:
    """A SELECT list (or, ``inside``, a row literal) as one row value."""
    builder = RowBuilder()
    for clause in clauses:
        try:
            _add_clause(builder, clause, scope, inside=inside)
        except MldbError as error:
            at(error, clause)
            raise
    return builder.build()


def _add_clause(builder: RowBuilder, clause: Clause, scope: Scope, *, inside: bool) -> None:
    match clause:
        case Wildcard():
            builder.add((), _wildcard(clause, scope, inside=inside))
        case Item():
            builder.add(item_name(clause), _item(clause, scope))
        case Flatten():
            builder.add((), _flatten(clause, scope))
        case ColumnExpr():
            builder.add((), column_expression(clause, scope))


@binds(RowLiteral)
def _row_literal(node: RowLiteral, scope: Scope) -> Value:
    row = bind_clauses(node.clauses, scope, inside=True)
    rests = tuple(rest if rest.prefix else replace(rest, rows=(*rest.rows, ())) for rest in row.rests)
    return replace(row, rests=rests) if rests else row


def _item(clause: Item, scope: Scope) -> Value:
    value = bind(clause.expression, scope)
    if isinstance(value, Open) and (value.named or isinstance(clause.expression, Extract)):
        return replace(value, sql=scope.reference(value.sql), named=True)
    return present(value)


def item_name(item: Item) -> Path:
    """The name that AS gives, a bare column's own path, else the source text as one element."""
    if item.name is not None:
        return item.name
    if isinstance(item.expression, ColumnRef):
        return item.expression.path
    return (item.text,)


def _flatten(clause: Flatten, scope: Scope) -> Row:
    value = bind(clause.expression, scope)
    if isinstance(value, Atom | MultiValue) and not is_null(value):
        raise MldbError("Expression with AS * must return a row")
    if isinstance(value, Open):
        # What it is only the data tell: a null gives no columns, another atom is refused.
        return Row({}, (Rest((), macro("m_row_cells", value.sql), constant=value.constant),), value.constant)
    return require_row(value, "Expression with AS * must return a row")


def _wildcard(node: Wildcard, scope: Scope, *, inside: bool) -> Row:
    """The columns that a wildcard names, renamed as it says."""
    if isinstance(scope, NoScope):
        text = "Cannot use wildcards with no FROM clause." if inside else "Wildcard usage requires a FROM statement"
        raise MldbError(text)
    prefix, tables = node.prefix, _behind(scope)
    table = scope.qualified(prefix) if prefix else None
    if table is not None:
        row, prefix = table, prefix[1:]
        node = Wildcard(prefix, node.excluding, node.target)
    else:
        row = scope.beginning(prefix) if prefix else scope.everything()
        if node.dotted and isinstance(tables, TableScope):
            _check_known(prefix[0], row, tables)
    return _chosen(row, node, tables.relation if isinstance(tables, TableScope) else None)


def _behind(scope: Scope) -> Scope:
    """The scope that names what wildcards mean: try() and branches of CASE lay nothing over it."""
    while isinstance(scope, OverlayScope) and not scope.row.columns and not scope.row.rests:
        scope = scope.outer
    return scope


def _check_known(name: str, row: Row, scope: TableScope) -> None:
    """Refuse ``name.*`` where ``name`` is neither a table nor begins a column that the rows can have."""
    first = [path[0] for path in row.columns if path]
    if any(element.startswith(name) for element in first) or not (first or row.rests):
        return
    if row.rests and not scope.relation.lacks(name):
        return
    near = did_you_mean(name, {*scope.relation.sides(), *first})
    raise MldbError(f"Unknown dataset {name}{near and '.' + near}")


def _chosen(row: Row, node: Wildcard, relation: Relation | None) -> Row:
    prefix, target = node.prefix, node.target
    builder = RowBuilder()
    if any(isinstance(leaf, Embedding) and _splits(path, node) for path, leaf in row.columns.items()):
        row = spelled(row)
    for path, leaf in row.columns.items():
        _choose(builder, path, leaf, node)
    for rest in row.rests:
        cells = rest.cells()
        condition = _name_condition(node)
        narrowed = relation.narrowed(cells, condition) if relation is not None and condition else None
        if narrowed is not None:
            builder.rests.append(Rest((), narrowed if target is None else _renamed_cells(narrowed, prefix, target)))
            continue
        if prefix:
            cells = f"m_starting({cells}, {_text_prefix(prefix)})"
        for exclusion in node.excluding:
            cells = f"list_filter({cells}, lambda c: NOT ({_excluded_sql(exclusion)}))"
        builder.rests.append(Rest((), cells if target is None else _renamed_cells(cells, prefix, target)))
    return builder.build()


def _name_condition(node: Wildcard) -> str:
    """What the name of a column ``k`` must be like for a wildcard to mean it; "" for any."""
    parts = [f"m_starts(k.name, {_text_prefix(node.prefix)})"] if node.prefix else []
    parts += [f"NOT ({_excluded_sql(exclusion, 'k.name')})" for exclusion in node.excluding]
    return " AND ".join(parts)


def _splits(path: Path, node: Wildcard) -> bool:
    """Whether a wildcard cuts through the elements of an embedding, or takes its name from them."""
    deep = [e.path for e in node.excluding if len(e.path) > len(path) and e.path[: len(path)] == path]
    return bool(deep) or len(node.prefix) > len(path) or (node.target == () and node.prefix == path)


def _choose(builder: RowBuilder, path: Path, leaf: Value, node: Wildcard) -> None:
    if _starts_with(path, node.prefix) and not any(_excludes(e, path) for e in node.excluding):
        builder.add(path if node.target is None else _renamed(path, node.prefix, node.target), leaf)


def _starts_with(path: Path, prefix: Path) -> bool:
    """Whether a name is under a wildcard's prefix: elements equal, the last one a prefix of its element."""
    if not prefix:
        return True
    last = len(prefix) - 1
    return len(path) > last and path[:last] == prefix[:last] and path[last].startswith(prefix[last])


def _excludes(exclusion: Exclusion, path: Path) -> bool:
    return _starts_with(path, exclusion.path) if exclusion.prefix else path == exclusion.path


def _renamed(path: Path, prefix: Path, target: Path) -> Path:
    """``prefix* AS target*`` applied to a name; an empty prefix puts a new element in front."""
    if not prefix:
        return (*target, *path)
    last = len(prefix) - 1
    tail = path[last][len(prefix[last]) :]
    rest = path[last + 1 :]
    if not target:
        # What stands below the element keeps its own name; of a single element the text behind the prefix stays.
        return rest or (tail.removeprefix("."),)
    return (*target[:-1], target[-1] + tail, *rest)


def _text_prefix(prefix: Path) -> str:
    return literal_text(format_path(prefix))


def _excluded_sql(exclusion: Exclusion, name: str = "c.p") -> str:
    text = _text_prefix(exclusion.path)
    return f"m_starts({name}, {text})" if exclusion.prefix else f"{name} = {text}"


def _renamed_cells(cells: str, prefix: Path, target: Path) -> str:
    new = literal_text(format_path(target)) if target else "''"
    if not prefix:
        return f"m_prefixed({cells}, {new})" if target else cells
    cut = len(format_path(prefix)) + 1
    tail = f"substr(c.p, {cut})"
    name = f"{new} || {tail}" if target else f"CASE WHEN {tail} = '' THEN '' ELSE ltrim({tail}, '.') END"
    return f"list_transform({cells}, lambda c: struct_pack(p := {name}, v := c.v, t := c.t))"
