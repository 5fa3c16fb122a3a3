"""What `import.text` must be told of a file, by its first bytes: delimiter, encoding, cells over lines, nulls."""

from __future__ import annotations

import codecs
import csv
import io
from itertools import zip_longest
from typing import Any, Final

from server.transfer.celltypes import cell_atom

HEAD: Final = 256 << 10  # bytes of a file that are looked at
UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")  # how such text begins, which no import reads
_SNIFFED: Final = 8192  # characters that tell the delimiter
_DELIMITERS: Final = ",;\t|"
# What stands for a missing number, where a column has nothing but numbers beside it.
_NO_NUMBER: Final = frozenset({"NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "-", "?"})


def decoded(head: bytes, *, complete: bool) -> tuple[str, str]:
    """The text of the first bytes and its encoding: UTF-8 when it is that, else Latin-1, which every file is."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head, complete)
    except UnicodeDecodeError:
        return head.decode("latin-1"), "latin1"
    return text.removeprefix("\ufeff"), "utf-8"


def parameters(head: bytes, *, complete: bool) -> tuple[dict[str, Any], list[list[str]]]:
    """The parameters that differ from the defaults, and the rows that were seen, the names of the columns first.

    ``complete``: these bytes are the whole file, so that its last line is one.
    """
    text, encoding = decoded(head, complete=complete)
    try:
        delimiter = csv.Sniffer().sniff(text[:_SNIFFED], _DELIMITERS).delimiter
    except csv.Error:  # one column
        delimiter = ","
    lines = text.splitlines(keepends=True)
    reader = csv.reader(io.StringIO("".join(lines if complete else lines[:-1])), delimiter=delimiter)
    rows = [row for row in reader if row]
    found: dict[str, Any] = {}
    if delimiter != ",":
        found["delimiter"] = delimiter
    if encoding != "utf-8":
        found["encoding"] = encoding
    if any("\n" in cell for row in rows for cell in row):
        found["allowMultiLines"] = True
    nulls = _null_values(rows[1:])
    if nulls:
        found["nullValues"] = nulls
    return found, rows


def _null_values(rows: list[list[str]]) -> list[str]:
    """Texts that stand for missing numbers, and that no column of texts has, where they may be words."""
    absent: set[str] = set()
    words: set[str] = set()
    for column in zip_longest(*rows, fillvalue=""):
        cells = {cell for cell in column if cell}
        texts = {cell for cell in cells if isinstance(cell_atom(cell), str)}
        (absent if texts < cells and texts <= _NO_NUMBER else words).update(texts)
    return sorted(absent - words)
