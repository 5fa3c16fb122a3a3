"""Blobs: their size, their type, what cameras write into pictures; and content of the web (sql-dialect.md §8.10)."""

from __future__ import annotations

import io
import math
from typing import Any

from server.errors import MldbError
from server.sql import coerce
from server.sql.batch_functions import apply_function
from server.sql.bound import Atom, MultiValue, Open, Row, Value, timestamp_of
from server.sql.functions.filetypes import describe
from server.sql.functions.registry import Builtin, executing, result, routine
from server.sql.routines import CELLS, Routine
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import Timestamp, collapse
from server.values.batches import Cell
from server.values.kinds import Kind


def _blob_length(node: Call, args: list[Value], scope: Scope) -> Value:
    return result(f"octet_length({coerce.to_blob(args[0])})", Kind.INTEGER, args)


def _mime_type(node: Call, args: list[Value], scope: Scope) -> Value:
    value = args[0]
    if isinstance(value, Atom | MultiValue):
        return result(f"s_mime_type({TASK_SQL}, {coerce.to_any(value)})", Kind.STRING, args)
    return result(f"s_mime_type_of_row({TASK_SQL}, {coerce.to_cells(value)})", Kind.STRING, args)


_NOT_A_BLOB = "{} extraction requires that an atomic value of type BLOB is passed to it."


def mime_type(value: PlainAtom) -> str:
    """A description of a blob's type, in the words of the program ``file``."""
    if not isinstance(value, bytes):
        raise MldbError(_NOT_A_BLOB.format("Mime type"))
    return describe(value)


def mime_type_of_row(cells: list[Cell]) -> str | None:
    """Of an atom that only the data show to be one; a row is refused."""
    if len(cells) == 1 and not cells[0].path:
        return None if cells[0].value is None else mime_type(cells[0].value)
    raise MldbError(_NOT_A_BLOB.format("Mime type"))


def _parse_exif(node: Call, args: list[Value], scope: Scope) -> Value:
    value = args[0]
    if not isinstance(value, Atom | MultiValue | Open):
        raise MldbError(_NOT_A_BLOB.format("EXIF"))
    return Open(scope.stage(f"s_parse_exif({TASK_SQL}, {coerce.to_any(value)}, {timestamp_of(value)})"))


_TAGS: dict[str, tuple[str, int]] = {
    "cameraMake": ("", 271), "cameraModel": ("", 272), "software": ("", 305), "bitsPerSample": ("", 258),
    "imageDescription": ("", 270), "imageOrientation": ("", 274), "imageCopyright": ("", 33432),
    "imageDateTime": ("", 306), "imageWidth": ("exif", 40962), "imageHeight": ("exif", 40963),
    "originalDateTime": ("exif", 36867), "digitizedDateTime": ("exif", 36868), "subsecondTime": ("exif", 37521),
    "exposureTime": ("exif", 33434), "fStop": ("exif", 33437), "isoSpeed": ("exif", 34855),
    "subjectDistance": ("exif", 37382), "exposureBias": ("exif", 37380), "flashUsed": ("exif", 37385),
    "meteringMode": ("exif", 37383), "lensFocalLength": ("exif", 37386), "focalLength35mm": ("exif", 41989),
    "lensMake": ("exif", 42035), "lensModel": ("exif", 42036), "focalPlaneXres": ("exif", 41486),
    "focalPlaneYres": ("exif", 41487),
}  # fmt: skip
_LENS = ("lensMinFocalLength", "lensMaxFocalLength", "lensFstopMin", "lensFstopMax")
_TEXTS = {
    "cameraMake", "cameraModel", "software", "imageDescription", "imageCopyright", "imageDateTime",
    "originalDateTime", "digitizedDateTime", "subsecondTime", "lensMake", "lensModel",
}  # fmt: skip


def parse_exif(value: PlainAtom, when: Timestamp | None) -> list[Cell]:
    """What a camera wrote into a picture; text that is missing is empty, numbers are 0; all null without any EXIF."""
    if not isinstance(value, bytes):
        raise MldbError(_NOT_A_BLOB.format("EXIF"))
    seconds = -math.inf if when is None else when.seconds
    return [Cell((name,), found, seconds) for name, found in _exif(value).items()]


def _exif(data: bytes) -> dict[str, PlainAtom]:
    from PIL import ExifTags, Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "TIFF", "PNG", "WEBP")) as image:
            main = image.getexif()
    except UnidentifiedImageError:
        raise MldbError("EXIF parser error: No JPEG markers found in buffer, possibly invalid JPEG file") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise MldbError(f"EXIF parser error: EXIF header was found, but data was corrupted: {error}") from None
    parts = {"": main, "exif": main.get_ifd(ExifTags.IFD.Exif)}
    found: dict[str, PlainAtom] = {
        name: _text(parts[part].get(tag)) if name in _TEXTS else _number(parts[part].get(tag))
        for name, (part, tag) in _TAGS.items()
    }
    found["flashUsed"] = int(_number(parts["exif"].get(37385))) & 1
    lens = parts["exif"].get(42034) or (0, 0, 0, 0)
    found.update({name: _number(number) for name, number in zip(_LENS, lens, strict=False)})
    found.update(_position(main.get_ifd(ExifTags.IFD.GPSInfo)))
    return found if main else dict.fromkeys(found)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "" if value is None else str(value).rstrip("\0 ")


def _number(value: Any) -> int | float:
    if isinstance(value, tuple):
        value = value[0] if value else 0
    try:
        return collapse(float(value)) if value is not None else 0
    except (TypeError, ValueError, ZeroDivisionError):
        return 0


def _position(gps: Any) -> dict[str, PlainAtom]:
    altitude = _number(gps.get(6))
    below = gps.get(5) in (1, b"\x01")
    return {
        "gpsLat": _degrees(gps.get(2), gps.get(1) == "S"),
        "gpsLon": _degrees(gps.get(4), gps.get(3) == "W"),
        "gpsAltitude": -altitude if below else altitude,
        "gpsPrecision": _number(gps.get(11)),
    }


def _degrees(parts: Any, negative: bool) -> int | float:
    if not isinstance(parts, tuple) or len(parts) != 3:
        return 0
    degrees = sum(_number(part) / 60**index for index, part in enumerate(parts))
    return collapse(float(-degrees if negative else degrees))


def _fetcher(node: Call, args: list[Value], scope: Scope) -> Value:
    function = scope.context.fetcher
    if function is None:
        raise MldbError("nothing can be fetched in this query")
    one = coerce.atom(args[0])
    return apply_function(
        function, Row({("url",): Atom(coerce.to_text(one), Kind.STRING, one.ts, one.constant)}), scope
    )


ROUTINES = [
    routine("mime_type", (Kind.ANY,), Kind.STRING, mime_type, slow=True),
    Routine("s_mime_type_of_row", (CELLS,), Kind.STRING, executing("mime_type", mime_type_of_row), slow=True),
    routine("parse_exif", (Kind.ANY, Kind.TIMESTAMP), CELLS, parse_exif, strict=False, slow=True),
]

BUILTINS = [
    Builtin(
        "blob_length(x: blob | text) → integer",
        "How many bytes a blob or a text has.",
        ("blob_length('élan')", "5"),
        bind=_blob_length,
    ),
    Builtin(
        "mime_type(blob: blob) → text",
        "What kind of file a blob is.",
        ("mime_type(CAST('<html></html>' AS blob))", '"HTML document, ASCII text, with no line terminators"'),
        bind=_mime_type,
    ),
    Builtin(
        "parse_exif(blob: blob) → row",
        "What a camera wrote into a picture.",
        bind=_parse_exif,
        null=("an error: NULL is no blob", None),
    ),
    Builtin(
        "fetcher(url: text) → row",
        "A row with the content of a URL, dated by its last change, and the error, one of which is null.",
        bind=_fetcher,
        volatile=True,
        null=("no content, and an error", None),
    ),
]
