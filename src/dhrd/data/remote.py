"""Rows of files that are elsewhere (`s3://…`, `gs://…`, `https://…`): whatever fsspec has a file system for."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import get_protocol

from dhrd._text import message_of
from dhrd.config.published import masked
from dhrd.data.classes import METADATA, Classes
from dhrd.data.readers import check_alike, check_kind, metadata_of, read_open
from dhrd.data.row import BadRow, Row
from dhrd.errors import DataError, DhrdError


def is_url(spec: object) -> bool:
    """Whether what names rows is an address of fsspec's."""
    return isinstance(spec, str) and "://" in spec


def local_path(spec: object) -> Path | None:
    """Where an address leads among this machine's own files (`file://…`), by whatever way; None: it does not."""
    if not is_url(spec):
        return None
    last = str(spec).rpartition("::")[2]  # of a chain, such as `simplecache::file://…`, what is read in the end
    return Path(url_to_fs(last)[1]) if get_protocol(last) in LocalFileSystem.protocol else None


def urls_of(url: str) -> list[str]:
    """The files of rows that an address names: itself, those of a directory, or those of a pattern.

    Raises:
        DataError: There is none, or the place cannot be reached.
    """
    with _reaching(url):
        system, path = url_to_fs(url)
        if system.isdir(path):
            inside = [Path(item["name"]) for item in system.ls(path, detail=True) if item["type"] == "file"]
            paths = [str(file) for file in check_alike(inside, masked(url))]
        else:
            paths = sorted(system.glob(path)) if glob.has_magic(path) else [path] * system.exists(path)
        for file in paths:
            check_kind(Path(masked(file)))
        if not paths:
            raise DataError(f"{masked(url)}: no such file")
        return [system.unstrip_protocol(file) for file in paths]


def read_url(url: str, *, delimiter: str = ",", remark: Callable[[str], None] | None = None) -> Iterator[Row | BadRow]:
    """The rows of what `urls_of` gives, streaming as `read_file` does.

    Raises:
        DataError: A file cannot be reached, or is unreadable as a whole.
    """
    for file in urls_of(url):
        with _reaching(file), _opened(file) as stream:
            name = masked(file)  # which messages, tables of errors and manifests say
            classes = Classes.of_metadata(name, metadata_of(stream, name, METADATA))
            yield from classes.named(read_open(stream, name, delimiter=delimiter, remark=remark))


def _opened(url: str) -> Any:
    return fsspec.open(url, "rb", compression="gzip" if url.lower().endswith(".gz") else None)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """One line of whatever a file system raises: each has errors of its own."""
    try:
        yield
    except DhrdError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or message_of(error)
        raise DataError(f"{masked(url)}: cannot be read: {masked(reason)}") from error
