"""Short ways to read rows, to write what is read, and to hear what is said of them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings, load_config
from dhrd.data.readers import read_file
from dhrd.data.records import Example
from dhrd.data.row import BadRow, Row
from dhrd.data.rows import Rows, load_rows
from dhrd.data.sources import open_source
from dhrd.errors import DataError

PLAIN = DataSettings()


def load(spec: Any, settings: DataSettings = PLAIN, **options: Any) -> list[Example]:
    """Rows as a source has them."""
    return open_source(spec, settings).load(**options)


def error_of(spec: Any, settings: DataSettings = PLAIN, **options: Any) -> str:
    """Why rows are refused."""
    with pytest.raises(DataError) as caught:
        load(spec, settings, **options)
    return str(caught.value)


def read(spec: Any, *, labels_required: bool = True, **settings: Any) -> list[Example]:
    """Rows as a source has them, with settings as a config's (`data__columns=…`)."""
    return load(spec, load_config(**settings).data, labels_required=labels_required)


def refused(spec: Any, **settings: Any) -> str:
    """Why rows are refused, with settings as a config's."""
    with pytest.raises(DataError) as caught:
        read(spec, **settings)
    return str(caught.value)


def run_rows(train: Any, validation: Any = None, **settings: Any) -> Rows:
    """Training and validation rows as a run reads them, without rationales."""
    return load_rows(load_config(loss__reasoning_weight=0, **settings), train, validation)


def refused_by_run(train: Any, validation: Any = None, **settings: Any) -> str:
    """Why a run refuses rows."""
    with pytest.raises(DataError) as caught:
        run_rows(train, validation, **settings)
    return str(caught.value)


def labelled(*labels: Any, count: int = 1) -> list[dict[str, Any]]:
    """A row for each label, so many times over."""
    return [{"input_text": f"note {number}", "label": label} for number, label in enumerate(labels * count)]


def labels_of(examples: list[Example]) -> list[Any]:
    """The rows' labels."""
    return [example.label for example in examples]


def columns(path: Path) -> list[dict[str, Any]]:
    """The columns of a file's good rows."""
    return [item.columns for item in read_file(path) if isinstance(item, Row)]


def problems(path: Path) -> dict[str, str]:
    """A file's bad rows: their places and what is wrong."""
    return {item.where: item.problem for item in read_file(path) if isinstance(item, BadRow)}


def warnings_of(caplog: pytest.LogCaptureFixture, read: Callable[[], Any]) -> list[str]:
    """What is said at level warning while something is read."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        read()
    return [record.getMessage() for record in caplog.records]


def write(path: Path, text: str | bytes) -> Path:
    """A file of text, or of bytes."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def write_delimited(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A .csv file with quotes, or a .tsv file without."""
    with path.open("w", encoding="utf-8", newline="") as file:
        is_tsv = path.suffix == ".tsv"
        quoting = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if is_tsv else {}
        writer = csv.DictWriter(file, list(rows[0]), **quoting)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)
    return path
