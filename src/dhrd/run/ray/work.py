"""What the processes of a cluster do: some read files into pieces, others label a piece and write it as a part."""

from __future__ import annotations

import logging
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dhrd.artifact.info import read_info
from dhrd.config import RunConfig
from dhrd.data.row import BadRow, Row
from dhrd.data.source import Source
from dhrd.errors import DataError, DhrdError
from dhrd.inference.classifier import Classifier
from dhrd.inference.streaming import text_length
from dhrd.run.predict.journal import Mark
from dhrd.run.predict.predict import write_predictions
from dhrd.run.predict.reading import Reading
from dhrd.run.predict.sinks import Refused
from dhrd.run.predict.tables import Columns, Parquet, Record
from dhrd.run.ray.parts import PartDone, PartsOutput, part_name
from dhrd.run.rows import open_rows

_PIECE_CHARACTERS = 1 << 24
_MAX_DEATHS = 3  # until the rows and not the machine are blamed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJob:
    """What all processes of a job know.

    Args:
        model_dir: The artifact, at a path that every machine has.
        options: Of the classifier.
        config: Column names.
        columns: What a prediction holds.
        head: What stands before the rows of every part: their types.
        skip: Leave bad rows out.
        output: Where parts go.
        piece_rows: Rows of a part; it ends earlier where they are large.
    """

    model_dir: str
    options: Mapping[str, Any]
    config: RunConfig
    columns: Columns
    head: bytes
    skip: bool
    output: PartsOutput
    piece_rows: int

    def source(self, file: str) -> Source:
        """The rows of a file."""
        return open_rows(file, "test", self.config, read_info(self.model_dir))


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that become a part.

    Args:
        name: Of the part.
        file: Of the rows.
        rows: As they were read.
        failure: What ended the file before its time.
        warnings: What was said while they were read.
    """

    name: str
    file: str
    rows: Sequence[Row | BadRow]
    failure: DataError | None = None
    warnings: tuple[str, ...] = ()

    def read(self) -> Iterator[Row | BadRow]:
        """The rows, and the failure after them."""
        yield from self.rows
        if self.failure is not None:
            raise self.failure


@dataclass(frozen=True, slots=True)
class PieceOutcome:
    """What became of a piece.

    Args:
        name: Of the part.
        done: What is told of it, or why it is not there.
        warnings: What was said meanwhile.
    """

    name: str
    done: PartDone | DhrdError
    warnings: tuple[str, ...] = ()


def read_pieces(item: Mapping[str, Any], *, work: ClusterJob, done: frozenset[str]) -> Iterator[dict[str, bytes]]:
    """The pieces of a file that are not done; for `Dataset.flat_map`.

    Args:
        item: The number of the file, and its name.
        work: Of the job.
        done: The names of parts that are whole.
    """
    number, file = item["number"], item["file"]
    for piece in pieces_of(file, number, work):
        if piece.name not in done:
            yield {"piece": pickle.dumps(piece)}


def pieces_of(file: str, number: int, work: ClusterJob) -> Iterator[Piece]:
    """A file in pieces, which are the same whenever it is read; the last one has what the file's end brought."""
    rows: list[Row | BadRow] = []
    count = num_characters = 0
    failure = None
    with _heard() as warnings:
        try:
            for row in work.source(file).read():
                if len(rows) == work.piece_rows or num_characters > _PIECE_CHARACTERS:
                    yield Piece(part_name(number, count), file, rows)
                    rows, num_characters, count = [], 0, count + 1
                rows.append(row)
                num_characters += text_length(row.columns) if isinstance(row, Row) else 0
        except DataError as error:
            failure = error
    if rows or failure or warnings:
        yield Piece(part_name(number, count), file, rows, failure, tuple(warnings))


class Labeller:
    """A process with a classifier, which labels pieces; for `Dataset.map_batches`.

    What goes wrong is an outcome and is not raised: Ray would wrap it, and put words of its own around it.

    Args:
        work: Of the job.
    """

    def __init__(self, work: ClusterJob) -> None:
        self.work = work

    @cached_property
    def classifier(self) -> Classifier:
        """Loaded for the first piece."""
        return Classifier.from_pretrained(self.work.model_dir, **self.work.options)

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        """The outcomes of pieces."""
        return {"outcome": [pickle.dumps(self.label(pickle.loads(content))) for content in batch["piece"]]}

    def label(self, piece: Piece) -> PieceOutcome:
        """Label a piece and write its part."""
        with _heard() as warnings:
            try:
                with self.work.output.attempt(piece.name) as num_deaths:
                    _check_deaths(piece, num_deaths)
                    done: PartDone | DhrdError = self._done(piece)
            except DhrdError as error:
                done = error
        return PieceOutcome(piece.name, done, (*piece.warnings, *warnings))

    def _done(self, piece: Piece) -> PartDone:
        source = replace(self.work.source(piece.file), name=piece.file, read=piece.read)
        reading = Reading(source, keep=self.work.columns.keep, skip=self.work.skip)
        with tempfile.TemporaryDirectory(prefix="dhrd-") as folder:
            part = PartFile(Path(folder) / "rows", self.work.columns, self.work.head)
            mark = write_predictions(self.classifier, reading, part, self.work.columns)
            done = PartDone(mark, tuple(part.refused))
            self.work.output.save(piece.name, part.finish(), done)
        return done


def _check_deaths(piece: Piece, num_deaths: int) -> None:
    if num_deaths >= _MAX_DEATHS:
        where = piece.rows[0].where if piece.rows else piece.file
        raise DhrdError(
            f"{where}: {num_deaths} workers died over the {len(piece.rows)} rows from here on, as they do where memory "
            "runs out; lower `max_tokens_per_pass`, or give fewer `num_workers`, and run again with `resume`"
        )


class PartFile:
    """A part that grows in a temporary file; a `RowSink`.

    Args:
        path: Of the file.
        columns: What a prediction holds.
        head: What stands before the rows.

    Attributes:
        refused: Rows that were left out.
    """

    mark = Mark()

    def __init__(self, path: Path, columns: Columns, head: bytes) -> None:
        self.refused: list[Refused] = []
        self._path, self._table, self._head = path, Parquet(columns), head
        path.write_bytes(head)

    def write(self, records: Sequence[Record], refused: Sequence[Refused], mark: Mark | None) -> None:
        """Append a window."""
        self.refused += refused
        if records:
            with self._path.open("ab") as file:
                file.writelines(self._table.rows(records, self._head))

    def finish(self) -> Path:
        """The Parquet file."""
        return self._table.finish(self._path)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What is said to users in the block: nobody reads what the processes of a cluster print."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger, ear = logging.getLogger("dhrd"), Ear(logging.WARNING)
    logger.addHandler(ear)
    try:
        yield heard
    finally:
        logger.removeHandler(ear)
