"""What kind of file some bytes are, in the words of the program ``file``."""

from __future__ import annotations

import io
import json

_SIGNATURES: list[tuple[int, bytes, str]] = [
    (0, b"\x89PNG\r\n\x1a\n", "PNG image data"),
    (0, b"GIF87a", "GIF image data, version 87a"),
    (0, b"GIF89a", "GIF image data, version 89a"),
    (0, b"\xff\xd8\xff", "JPEG image data"),
    (0, b"II*\0", "TIFF image data, little-endian"),
    (0, b"MM\0*", "TIFF image data, big-endian"),
    (0, b"BM", "PC bitmap"),
    (8, b"WEBP", "RIFF (little-endian) data, Web/P image"),
    (8, b"WAVE", "RIFF (little-endian) data, WAVE audio"),
    (8, b"AVI ", "RIFF (little-endian) data, AVI"),
    (0, b"%PDF-", "PDF document"),
    (0, b"\x1f\x8b", "gzip compressed data"),
    (0, b"BZh", "bzip2 compressed data"),
    (0, b"\xfd7zXZ\0", "XZ compressed data"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard compressed data"),
    (0, b"\x04\x22\x4d\x18", "LZ4 compressed data"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-zip archive data"),
    (0, b"Rar!\x1a\x07", "RAR archive data"),
    (0, b"PK\x03\x04", "Zip archive data"),
    (257, b"ustar", "POSIX tar archive"),
    (0, b"\x7fELF", "ELF"),
    (0, b"SQLite format 3\0", "SQLite 3.x database"),
    (0, b"ID3", "Audio file with ID3"),
    (0, b"OggS", "Ogg data"),
    (0, b"fLaC", "FLAC audio bitstream data"),
    (4, b"ftyp", "ISO Media"),
]
_MARKUP = ((b"<?xml", "XML"), (b"<!doctype html", "HTML document"), (b"<html", "HTML document"), (b"<svg", "SVG"))
_INTERPRETERS = (("python", "Python script"), ("bash", "Bourne-Again shell script"), ("sh", "POSIX shell script"),
                 ("perl", "Perl script"), ("node", "Node.js script"))  # fmt: skip
_TEXT_CONTROLS = set(b"\t\n\r\f\x1b\b")


def describe(data: bytes) -> str:
    """The description of a file with this content."""
    if not data:
        return "empty"
    for offset, signature, text in _SIGNATURES:
        if data.startswith(signature, offset):
            return text + _dimensions(data, text)
    encoding = _encoding(data)
    return "data" if encoding is None else _text(data, encoding)


def _dimensions(data: bytes, text: str) -> str:
    """The size of a picture, which is read from its head."""
    from PIL import Image, UnidentifiedImageError

    if "image data" not in text:
        return ""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f", {image.width} x {image.height}"
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""


def _encoding(data: bytes) -> str | None:
    """The name of a text's encoding, None for what is no text."""
    if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in data[:65536]):
        return None
    if data.isascii():
        return "ASCII text"
    try:
        data.decode()
    except UnicodeDecodeError:
        return "ISO-8859 text" if not any(128 <= byte < 160 for byte in data) else "Non-ISO extended-ASCII text"
    return "Unicode text, UTF-8 text"


def _text(data: bytes, encoding: str) -> str:
    start = data[:1024].lstrip()
    lines = "" if b"\n" in data or b"\r" in data else ", with no line terminators"
    lines = ", with CRLF line terminators" if b"\r\n" in data else lines
    if start.startswith(b"#!"):
        program = start.split(b"\n", 1)[0].decode("latin-1")
        kind = next((text for name, text in _INTERPRETERS if name in program), "a script")
        return f"{kind}, {encoding} executable{lines}"
    for mark, kind in _MARKUP:
        if start.lower().startswith(mark):
            return f"{kind}, {encoding}{lines}" if kind.startswith("HTML") else f"{kind} document, {encoding}{lines}"
    if start[:1] in (b"{", b"[") and _is_json(data):
        return "JSON data"
    return f"{encoding}{lines}"


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
