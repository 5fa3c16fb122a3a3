"""Ways to read a relation that are quicker than the general one, where a relation knows any."""

from __future__ import annotations


class Shortcuts:
    """What the binder and the compiler may ask of a relation before they do it in the general way.

    Each answer is SQL over the relation, or None where it knows no better way: that is so for most relations. Those of
    sparse datasets know most (``server.sql.sparse``), as reading all of their cells costs most.
    """

    def chosen(self, above: str, where: list[str], order: list[str], tail: str) -> str | None:
        """The FROM item of only the rows that WHERE, ORDER BY and LIMIT (``tail``) leave.

        For relations that can read what ``above`` needs of these rows alone.
        """
        return None

    def leading(self, order: list[str], where: list[str], count: int) -> str | None:
        """The FROM item of fewer rows than all, among which are the first ``count`` in this order that WHERE leaves."""
        return None

    def with_value(self, column: str, above: str) -> str | None:
        """The FROM item of the rows where a column is not NULL, if there are rows at all."""
        return None

    def narrowed(self, cells: str, condition: str) -> str | None:
        """The list of those of the gathered cells that meet a condition on the name of their column ``k``."""
        return None

    def folded(self, cells: str, aggregate: str, number: str = "") -> str | None:
        """An aggregate over a row's gathered cells ``s`` (``s.v``, ``s.t``), NULL without any; nothing is gathered.

        Where the aggregate has ``{n}``, ``number`` is SQL of the number that any value ``s.v`` is.
        """
        return None

    def counted(self, cells: str) -> str | None:
        """How many cells a row's list has."""
        return None

    def by_name(self, cells: str, value: str, ts: str, where: list[str]) -> str | None:
        """Aggregates over all gathered cells of one name: SQL of their list as cells, of the rows that WHERE leaves.

        ``value`` (ANY) and ``ts`` aggregate ``s.v`` and ``s.t``.
        """
        return None
