"""The work of a cluster's processes: reading files into pieces, and labelling pieces into parts."""

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
_MAX_DEATHS = 3  # after which the rows, not the machine, are blamed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJob:
    """A job's parameters, known to all its processes.

    Args:
        model_dir: The artifact, at a path that exists on every machine.
        options: Options of the classifier.
        config: Settings with column names.
        columns: The columns of predictions.
        head: The header of every part, with the types.
        skip: Skip bad rows.
        output: The directory of parts.
        piece_rows: Rows per part; fewer if they are large.
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
    """Rows that become one part.

    Args:
        name: The name of the part.
        file: The file of the rows.
        rows: The rows as read.
        failure: The error that ended reading the file early.
        warnings: Warnings logged while reading.
    """

    name: str
    file: str
    rows: Sequence[Row | BadRow]
    failure: DataError | None = None
    warnings: tuple[str, ...] = ()

    def read(self) -> Iterator[Row | BadRow]:
        """Yield the rows, then raise the failure, if any."""
        yield from self.rows
        if self.failure is not None:
            raise self.failure


@dataclass(frozen=True, slots=True)
class PieceOutcome:
    """The outcome of a piece.

    Args:
        name: The name of the part.
        done: The part's record, or the error that prevented it.
        warnings: Warnings logged meanwhile.
    """

    name: str
    done: PartDone | DhrdError
    warnings: tuple[str, ...] = ()


def read_pieces(item: Mapping[str, Any], *, work: ClusterJob, done: frozenset[str]) -> Iterator[dict[str, bytes]]:
    """Read the unfinished pieces of a file; for `Dataset.flat_map`.

    Args:
        item: The file's number and name.
        work: The job.
        done: The names of finished parts.
    """
    number, file = item["number"], item["file"]
    for piece in pieces_of(file, number, work):
        if piece.name not in done:
            yield {"piece": pickle.dumps(piece)}


def pieces_of(file: str, number: int, work: ClusterJob) -> Iterator[Piece]:
    """Split a file into pieces, the same ones each time; the last carries any failure at the file's end."""
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
    """A worker with a classifier that labels pieces; for `Dataset.map_batches`.

    Errors are returned as outcomes and not raised, because Ray would wrap them in messages of its own.

    Args:
        work: The job.
    """

    def __init__(self, work: ClusterJob) -> None:
        self.work = work

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier, loaded for the first piece."""
        return Classifier.from_pretrained(self.work.model_dir, **self.work.options)

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        """Label pieces and return their outcomes."""
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
        reading = Reading(source, keep=self.work.columns.keep, skip=self.work.skip, is_part=True)
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
            f"{where}: {num_deaths} workers died on these {len(piece.rows)} rows, probably for lack of memory; "
            "lower `max_tokens_per_pass`, or give fewer `num_workers`, and run again with `resume`"
        )


class PartFile:
    """A part that grows in a temporary file; a `RowSink`.

    Args:
        path: The file.
        columns: The columns of predictions.
        head: The header.

    Attributes:
        refused: Skipped rows.
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
    """Collect the messages logged in the block, as nobody sees what a cluster's processes print."""
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
