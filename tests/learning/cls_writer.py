"""Writes small classifier files in MLDB's binary format, for the tests of their reader."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def compact(value: int) -> bytes:
    for extra in range(8):
        if value < 1 << (7 + 7 * extra):
            head = (0xFF << (8 - extra)) & 0xFF
            return bytes([head | value >> (8 * extra)]) + (value & ((1 << 8 * extra) - 1)).to_bytes(extra, "big")
    return b"\xff" + value.to_bytes(8, "big")


def text(value: str) -> bytes:
    data = value.encode()
    return compact(len(data)) + data


def floats(values: Sequence[float]) -> bytes:
    return compact(len(values)) + struct.pack(f"<{len(values)}f", *values)


def entry(key: str, body: bytes) -> bytes:
    return text(key) + compact(0) + compact(len(body)) + body


def info(kind: int, categories: Sequence[str] | None = None) -> bytes:
    if categories is None:
        return compact(4) + bytes([kind])
    body = compact(0) + text("FIXED_CI") + compact(len(categories)) + b"".join(map(text, categories))
    return compact(4) + bytes([kind | 0x80]) + entry("FIXED_CI", body)


def column_hash(name: str) -> int:
    return int.from_bytes(name.encode().ljust(8, b"\xee")[:8], "big")


def feature(name: str) -> bytes:
    return compact(1) + compact(column_hash(name) >> 32) + compact(column_hash(name) & 0xFFFFFFFF)


def leaf(values: Sequence[float]) -> bytes:
    return compact(1) + compact(0) + compact(1) + floats(values) + struct.pack("<f", 1)


def node(name: str, operation: int, value: float | str | None, *children: bytes) -> bytes:
    split = bytes([0]) + feature(name) + bytes([operation])
    if isinstance(value, str):
        split += text(value)
    elif value is not None:
        split += struct.pack("<f", value)
    head = compact(1) + compact(1) + compact(4) + split + struct.pack("<ff", 0.5, 2)
    return head + floats([0] * 2) + b"".join(children)


def tree(root: bytes) -> bytes:
    body = text("DECISION_TREE") + compact(3) + compact(2) + feature("label") + compact(1) + root
    return entry("DECISION_TREE", body + compact(3212345) + text("END_TREE") + bytes([0]) + compact(12345))


def committee(bias: Sequence[float], weights: Sequence[float], members: Sequence[bytes]) -> bytes:
    body = text("COMMITTEE") + compact(0) + feature("label") + floats(bias) + floats(weights)
    body += b"".join(compact(0) + member for member in members) + text("END COMMITTEE")
    return entry("COMMITTEE", body)


def linear(weights: Sequence[Sequence[float]], columns: Sequence[tuple[str, int, str | None]], link: int = 0) -> bytes:
    body = text("GLZ_CLASSIFIER") + compact(4) + feature("label") + struct.pack("<i", 1)
    body += compact(len(weights)) + b"".join(map(floats, weights)) + bytes([link]) + compact(len(columns))
    for name, kind, category in columns:
        body += feature(name) + bytes([kind]) + (text(category) if category is not None else b"")
    return entry("GLZ_CLASSIFIER", body + compact(0x12345))


def cls_file(columns: dict[str, bytes], labels: Sequence[str], classifier: bytes) -> bytes:
    space = bytes([2]) + compact(len(columns)) + info(3, labels)
    for name, described in columns.items():
        space += text(f'"{column_hash(name):016x}"') + text(name) + described
    return compact(1) + entry("MLDB::DatasetFeatureSpace", space) + classifier
