"""From a file to rows, one at a time, each with its place in the file.

JSON, JSONL and CSV are read by the standard library: type-guessing readers take `001` for 1 and cannot name the bad
row. A reader never stops at a bad row: it yields a `BadRow`, so that several can be reported together.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
import pyarrow.parquet

from dhrd._text import message_of
from dhrd.data.delimited import read_csv, read_tsv
from dhrd.data.json_rows import not_utf8, read_array, read_jsonl
from dhrd.data.row import BadRow, Remarks, Row, check_names
from dhrd.errors import DataError

KINDS = (".csv", ".json", ".jsonl", ".parquet", ".tsv")
"""The files that are read, each also with .gz after it."""

STDIN = Path("-")
"""Standard input: JSON lines."""

_DEVICES = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
_SPLITS = ("train", "validation", "valid", "dev", "val", "test")


def read_file(
    path: Path, *, delimiter: str = ",", remark: Callable[[str], None] | None = None
) -> Iterator[Row | BadRow]:
    """The rows of a .json, .jsonl, .csv, .tsv or .parquet file, plain or gzipped, streaming all but .json.

    A directory of such files, or a pattern of names (`rows-*.csv`), is read as one, in the order of their names; `-`
    and pipes are JSON lines.

    Args:
        path: The file, the directory, or `STDIN`.
        delimiter: Delimiter of .csv files.
        remark: Called with warnings about what looks wrong; None: they are logged.

    Raises:
        DataError: The file is missing, of another kind, or unreadable as a whole.
    """
    for file in files_of(path):
        try:
            yield from _read(file, delimiter, remark or Remarks())
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or message_of(error)
            raise DataError(f"{file}: cannot be read: {reason}") from error


def is_read_once(path: Path) -> bool:
    """Whether a path is standard input, or a pipe: it can be read once."""
    is_device = path.parent in _DEVICES  # /dev/stdin may be a plain file, without a name that says its kind
    return path == STDIN or is_device or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))


def files_of(path: Path) -> list[Path]:
    """The files of rows that a path names: itself, those of a directory, or those of a pattern.

    Raises:
        DataError: There is none.
    """
    if os.path.isdir(path):  # of `os.path`: no error over a name that the system refuses
        return _files_of(path)
    if files := matching(path):
        return [row_file for file in files for row_file in files_of(file)]
    if not is_read_once(path):
        check_kind(path)
    if not os.path.isfile(path) and not is_read_once(path):
        raise DataError(f"{path}: no such file")
    return [path]


def matching(path: Path) -> list[Path]:
    """The files of a pattern of names that is not itself a file's name, sorted; none where it is no pattern."""
    if not glob.has_magic(str(path)) or os.path.lexists(path):
        return []
    return sorted(Path(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name))


def check_kind(path: Path) -> None:
    """Refuse a file whose name says that it holds something else than rows.

    Raises:
        DataError: It does.
    """
    if _kind(path) is None:
        raise DataError(f"{path}: unknown file type; use one of {', '.join(KINDS)}, plain or .gz, or - for stdin")


def _files_of(folder: Path) -> list[Path]:
    """The files of a directory that hold rows."""
    return check_alike([file for file in folder.iterdir() if file.is_file()], str(folder))


def check_alike(files: Iterable[Path], folder: str) -> list[Path]:
    """Those of a directory's files that hold rows, sorted.

    Raises:
        DataError: There is none, or they are of several kinds or of several splits.
    """
    files = sorted(file for file in files if _kind(file) and file.name[0] not in "._")
    if not files:
        raise DataError(f"{folder}: the directory contains no file of rows ({', '.join(KINDS)}, or .gz)")
    kinds = sorted({_kind(file) or "" for file in files})
    if len(kinds) > 1:
        raise DataError(f"{folder}: the directory contains several types of file ({', '.join(kinds)}); name the file")
    splits = {split for split in _SPLITS for file in files if file.name.lower().startswith(split)}
    if len(splits) > 1 and splits != {"valid", "validation", "val"} & splits:
        raise DataError(f"{folder}: the directory contains several splits ({', '.join(sorted(splits))}); name the file")
    return files


def _kind(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    return kind if kind in KINDS else None


def _read(path: Path, delimiter: str, remark: Callable[[str], None]) -> Iterator[Row | BadRow]:
    if _kind(path) == ".parquet":
        yield from _read_parquet(lambda: _open_parquet(path), str(path))
        return
    with _open(path) as file:
        yield from _read_text(file, str(path), delimiter, remark)


def read_open(
    file: BinaryIO, name: str, *, delimiter: str = ",", remark: Callable[[str], None] | None = None
) -> Iterator[Row | BadRow]:
    """The rows of a file that is open, and decompressed, of the kind that its name says.

    Raises:
        DataError: It is unreadable as a whole.
    """
    if _kind(Path(name)) == ".parquet":
        yield from _read_parquet(lambda: _parquet(file), name)
    else:
        yield from _read_text(file, name, delimiter, remark or Remarks())


def _read_text(file: BinaryIO, name: str, delimiter: str, remark: Callable[[str], None]) -> Iterator[Row | BadRow]:
    kind = _kind(Path(name)) or ".jsonl"
    if kind == ".jsonl":
        yield from read_jsonl(file, name)
    elif kind == ".json":
        yield from read_array(file, name)
    else:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        if kind == ".tsv":
            yield from read_tsv(lines, name, remark=remark)
        else:
            yield from read_csv(lines, name, delimiter=delimiter, remark=remark)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
    elif path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            yield file  # type: ignore[misc]  # a GzipFile reads like any binary file
    else:
        with path.open("rb") as file:
            yield file


def _read_parquet(open_file: Callable[[], pyarrow.parquet.ParquetFile], name: str) -> Iterator[Row | BadRow]:
    try:
        file = open_file()
        check_names(file.schema_arrow.names, name)
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for index in range(batch.num_rows):
                number += 1
                yield _parquet_row(batch, index, f"{name}:row {number}")
    except (pyarrow.ArrowException, UnicodeDecodeError, ValueError) as error:  # a schema may have bad bytes as well
        raise DataError(f"{name}: not a readable Parquet file: {message_of(error)}") from error


def _open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    return _parquet(path if path.suffix.lower() != ".gz" else pyarrow.BufferReader(gzip.decompress(path.read_bytes())))


def _parquet(source: Any) -> pyarrow.parquet.ParquetFile:
    # By default the whole compressed file is read ahead; this way a buffer's worth of a column at a time.
    return pyarrow.parquet.ParquetFile(source, pre_buffer=False, buffer_size=1 << 16)


def parquet_metadata(path: Path, key: bytes) -> Iterator[tuple[Path, bytes]]:
    """What the Parquet files of a path (a file, a directory) say under a key, b"" where they say nothing.

    A file that cannot be read is left out: reading its rows says what is wrong with it.
    """
    try:
        files = [file for file in files_of(path) if _kind(file) == ".parquet" and not is_read_once(file)]
    except (DataError, OSError):
        return
    for file in files:
        try:
            yield file, (_open_parquet(file).schema_arrow.metadata or {}).get(key, b"")
        except (OSError, EOFError, zlib.error, ValueError, pyarrow.ArrowException):
            continue


def metadata_of(file: BinaryIO, name: str, key: bytes) -> bytes:
    """What a file, open at its start, says under a key if it is Parquet; b"" where it says nothing."""
    if _kind(Path(name)) != ".parquet":
        return b""
    try:
        found: bytes = (_parquet(file).schema_arrow.metadata or {}).get(key, b"")
    except (ValueError, pyarrow.ArrowException):  # reading its rows says what is wrong with it
        found = b""
    file.seek(0)
    return found


def _parquet_row(batch: Any, index: int, where: str) -> Row | BadRow:
    try:
        return Row(where, batch.slice(index, 1).to_pylist()[0])
    except UnicodeDecodeError as error:
        return BadRow(where, not_utf8(error))
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:  # a time that Python's calendar lacks
        return BadRow(where, f"a value cannot be read ({message_of(error)}); correct the row")
