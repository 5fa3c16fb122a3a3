"""Functions of the row under hand: rowName(), rowPath(), rowHash(), columnCount() and their like (§5)."""

from __future__ import annotations

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Value, impossible
from server.sql.notes import Note
from server.sql.relations import Relation
from server.sql.tree import Call, Constant
from server.values.kinds import Kind

JOIN_ONLY = {"leftRowName", "rightRowName", "leftRowPath", "rightRowPath"}
ROW_FUNCTIONS = {"rowName", "rowPath", "rowHash", "rowPathElement", "columnCount", *JOIN_ONLY}

_JOINED = "FROM (SELECT 1 AS a NAMED 'l') AS p JOIN (SELECT 1 AS a NAMED 'r') AS q ON p.a = q.a"
NOTES = [
    Note("rowName() → text", "The name of the row; of a join's side with its alias in front.",
         ("SELECT rowName() AS x FROM (SELECT 1 AS a NAMED 'r')", '"r"')),
    Note("rowPath() → path", "The path of the row.",
         ("SELECT path_length(rowPath()) AS x FROM (SELECT 1 AS a NAMED ['r', 's'])", "2")),
    Note("rowHash() → integer", "A hash of the row's path: CityHash64. Rows that ORDER BY finds equal stand "
         "in its order.", ("SELECT rowHash() AS x FROM (SELECT 1 AS a NAMED 'x')", "5748889492429595544")),
    Note("rowPathElement(n: integer) → text", "The element number n of the row's path, from 0; "
         "negative: from the end; NULL beyond.",
         ("SELECT rowPathElement(-1) AS x FROM (SELECT 1 AS a NAMED ['r', 's'])", '"s"')),
    Note("columnCount() → integer", "How many columns have a value in the row.",
         ("SELECT columnCount() AS x FROM (SELECT 1 AS a, 2 AS b)", "2")),
    Note("leftRowName() → text", "The name of a join's left row.",
         (f"SELECT leftRowName() AS x {_JOINED}", '"l"')),
    Note("rightRowName() → text", "The name of a join's right row.",
         (f"SELECT rightRowName() AS x {_JOINED}", '"r"')),
    Note("leftRowPath() → path", "The path of a join's left row.",
         (f"SELECT path_length(leftRowPath()) AS x {_JOINED}", "1")),
    Note("rightRowPath() → path", "The path of a join's right row.",
         (f"SELECT path_length(rightRowPath()) AS x {_JOINED}", "1")),
]  # fmt: skip


def row_function(relation: Relation, call: Call) -> Value | None:
    """A row function of a relation; an unknown qualifier means the relation as a whole."""
    if call.name not in ROW_FUNCTIONS:
        return None
    if call.name in JOIN_ONLY:
        return _of_side(relation, call)
    target = asked(relation, call)
    match call.name:
        case "rowName":
            return Atom(target.row_text(), Kind.STRING, may_be_null=impossible)
        case "rowPath":
            path = target.row_path()
            return Atom(target.row_text(), Kind.PATH) if path.kind is Kind.INTEGER else path
        case "rowHash":
            return Atom(target.row_hash(), Kind.UNSIGNED)
        case "columnCount":
            cells = coerce.to_cells(target.row())
            counted = target.counted(cells)
            return count_of_columns(cells) if counted is None else Atom(counted, Kind.INTEGER)
    return path_element(Atom(target.row_text(), Kind.PATH), call)


def asked(relation: Relation, call: Call) -> Relation:
    """The relation whose row a row function tells of: a side by its alias, or the whole."""
    return relation.sides().get(call.qualifier, relation) if call.qualifier is not None else relation


def count_of_columns(cells: str) -> Atom:
    """``columnCount()`` of a row with these cells."""
    return Atom(f"len(list_distinct(list_transform({cells}, lambda c: c.p)))", Kind.INTEGER)


def path_element(path: Atom, call: Call) -> Atom:
    """``rowPathElement(n)``, ``columnPathElement(n)``: negative n from the end, NULL out of range."""
    if len(call.args) != 1 or not isinstance(call.args[0], Constant) or not isinstance(call.args[0].value, int):
        raise MldbError(f"{call.name}() function takes one argument, a constant integer")
    return Atom(f"u_path_element({path.sql}, {call.args[0].value})", Kind.STRING, path.ts)


def outside_of_join(name: str) -> str:
    return f"Function '{name}' is not available outside of a join"


def _of_side(relation: Relation, call: Call) -> Atom:
    sides: tuple[Relation, ...] | None = getattr(relation, "operands", None)
    if sides is None:
        raise MldbError(outside_of_join(call.name))
    side = sides[0] if call.name.startswith("left") else sides[1]
    return Atom(side.row_text(), Kind.STRING if call.name.endswith("Name") else Kind.PATH)
