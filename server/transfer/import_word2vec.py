"""``import.word2vec``: word vectors in word2vec's binary format (entity-types.md §3.4).

A line with the number of words and of dimensions, then for each word its text, a blank, and its numbers as
little-endian floats of four bytes. Read as a stream: the file may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from server.declarations import (
    BoundFunction,
    EntityType,
    NamedBatch,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
    SqlText,
    StatelessProcedure,
)
from server.errors import MldbError
from server.values.atoms import Atom, PathValue, number_text
from server.values.batches import Column, RowBatch, RowType
from server.values.cells import atoms_of
from server.values.kinds import Kind
from server.values.paths import format_path

_WORD = RowType((Column(("word",), Kind.STRING),))
_BATCH_BYTES = 16 << 20
_READ_BYTES = 1 << 20
# What tells a word2vec file from another: far longer words and more dimensions than any has.
_LONGEST_WORD = 4096  # bytes
_MOST_DIMENSIONS = 1 << 16


class ImportWord2VecParams(ProcedureParams):
    """Parameters of import.word2vec."""

    dataFileUrl: str = Field(
        description="URL of the binary file; packed files and members of archives are read as well"
    )
    outputDataset: OutputDataset = Field(
        default={},
        validation_alias=AliasChoices("outputDataset", "output"),
        description="Dataset to create; embedding unless it says otherwise",
    )
    offset: int = Field(0, ge=0, description="Words to leave out at the beginning")
    limit: int = Field(-1, description="Most words to read; -1 for all")
    named: SqlText = Field("word", description="Name of a word's row: an expression over `word`")


@dataclass(frozen=True)
class Words:
    """Some words of a file, each with its vector."""

    words: list[str]
    vectors: NDArray[np.float32]


class VectorFile:
    """A stream of word vectors. ``words`` and ``dimensions`` are what its first line says."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        try:
            words, dimensions = stream.readline(_LONGEST_WORD).split()
            self.words, self.dimensions = int(words), int(dimensions)
        except ValueError:
            raise MldbError(
                "This is no word2vec file in the binary format: its first line must be two numbers, of words and of "
                "dimensions"
            ) from None
        if self.words < 0 or not 0 < self.dimensions <= _MOST_DIMENSIONS:
            raise MldbError(f"A word2vec file cannot have {self.words} words of {self.dimensions} dimensions")
        self._width = 4 * self.dimensions
        self._buffer = b""
        self._at = 0  # what comes before was read

    def batches(self, offset: int, limit: int) -> Iterator[Words]:
        """The words from number ``offset`` on, ``limit`` of them (-1 for all), a few megabytes at a time."""
        rows = max(1, _BATCH_BYTES // self._width)
        last = self.words if limit < 0 else min(self.words, offset + limit)
        words: list[str] = []
        numbers: list[bytes] = []
        for place in range(last):
            word, vector = self._word(place), self._vector(place)
            if place >= offset:
                words.append(word)
                numbers.append(vector)
            if words and (len(words) == rows or place + 1 == last):
                flat = np.frombuffer(b"".join(numbers), "<f4")
                yield Words(words, flat.reshape(len(words), self.dimensions))
                words, numbers = [], []

    def _word(self, place: int) -> str:
        while (end := self._buffer.find(b" ", self._at, self._at + _LONGEST_WORD + 1)) < 0:
            if len(self._buffer) - self._at > _LONGEST_WORD or not self._read_more():
                raise self._broken(place)
        word = self._buffer[self._at : end]
        self._at = end + 1
        return word.lstrip(b"\n").decode("utf-8", "replace")

    def _vector(self, place: int) -> bytes:
        while len(self._buffer) - self._at < self._width:
            if not self._read_more():
                raise self._broken(place)
        self._at += self._width
        return self._buffer[self._at - self._width : self._at]

    def _read_more(self) -> bool:
        """Whether there was more."""
        more = self._stream.read(_READ_BYTES)
        self._buffer = self._buffer[self._at :] + more
        self._at = 0
        return bool(more)

    def _broken(self, place: int) -> MldbError:
        return MldbError(f"The word2vec file is cut off or damaged at word {place} of {self.words}")


class VectorRows:
    """A vector file as a query result: one array column, rows named by an expression over the word."""

    def __init__(self, file: VectorFile, params: ImportWord2VecParams, named: BoundFunction, time: float) -> None:
        self._file = file
        self._params = params
        self._named = named
        self._time = time
        self.count = 0
        self.type = RowType((Column((), Kind.NUMBER, (file.dimensions,)),))

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        for block in self._file.batches(self._params.offset, self._params.limit):
            flat = pa.array(block.vectors.reshape(-1).astype(np.float64))
            vectors = pa.FixedSizeListArray.from_arrays(flat, self._file.dimensions)
            self.count += len(block.words)
            if progress is not None:
                progress.update(self.count)
            yield NamedBatch(self._names(block.words), RowBatch(self.type, len(block.words), [vectors], [self._time]))

    def _names(self, words: list[str]) -> pa.Array:
        named = self._named.apply(RowBatch(_WORD, len(words), [pa.array(words, pa.string())]))
        atoms = atoms_of(named.values[0], named.type.columns[0].kind)
        return pa.array([name_of(atom) for atom in atoms], pa.string())


def name_of(atom: Atom) -> str:
    """The text of the row name that an atom makes."""
    if atom is None:
        raise MldbError("Can't create a row with a null name.")
    if isinstance(atom, PathValue):
        return format_path(atom.path)
    return format_path((number_text(atom) if isinstance(atom, int | float) else str(atom),))


def bound_name(services: Services, named: str) -> BoundFunction:
    """The expression ``named`` over a word; ``MldbError`` when it does not give one atom."""
    bound = services.engine.expression(f"({named}) AS name", _WORD)
    type_ = bound.output
    if type_.open or [(column.path, column.shape) for column in type_.columns] != [(("name",), None)]:
        raise MldbError("Cannot convert value of type row to the name of a row")
    return bound


class ImportWord2Vec(StatelessProcedure):
    def check(self, params: ImportWord2VecParams) -> BoundFunction:
        return bound_name(self.services, params.named)

    def run(self, params: ImportWord2VecParams, progress: Progress) -> RunResult:
        progress.step("iterating", "counter")
        named = self.check(params)
        source = self.services.urls.open_source(params.dataFileUrl, patient=True)
        with source.stream as stream:
            rows = VectorRows(VectorFile(stream), params, named, source.last_modified)
            _, dataset = self.services.output_dataset(params.outputDataset, "embedding")
            dataset.write(rows, progress)
        return RunResult({"rowCount": rows.count})


TYPES = [
    EntityType(
        kind="procedure",
        name="import.word2vec",
        params=ImportWord2VecParams,
        summary="Import word vectors from a binary word2vec file",
        create=ImportWord2Vec.create,
        doc=(
            "Each word becomes a row whose columns `0`, `1`, … are its vector: the neighbours of a word are then "
            "`embedding.neighbors` away, the vector of a text `pooling`."
        ),
    )
]
