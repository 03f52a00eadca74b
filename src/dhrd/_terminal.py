"""Terminal output: lines and tables in which text from data is only text.

Names of labels, files, ids and models may hold rich's markup (`[/bug]`, `:smile:`), control characters, or letters
that the terminal's encoding lacks: none of them may change, end or break what is shown.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dhrd._text import escaped


def say(*lines: str, file: TextIO | None = None) -> None:
    """Print lines as they are, control characters escaped.

    Args:
        *lines: The lines to print.
        file: Where to print; None: stdout.
    """
    print(*map(escaped, lines), sep="\n", file=file, flush=file is not None)


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", left: Collection[str] = ()
) -> None:
    """Print a table.

    Args:
        columns: The column headings.
        rows: Rows with one text per column.
        title: Title above the table.
        left: The columns that are aligned to the left; the others hold numbers.
    """
    table = Table(title=Text(escaped(title), style="table.title") if title else None, title_justify="left")
    for column in columns:
        table.add_column(Text(escaped(column)), justify="left" if column in left else "right")
    for row in rows:
        table.add_row(*(Text(escaped(cell)) for cell in row))
    Console().print(table)


def replace_closed() -> None:
    """Let stdout and stderr, where Python has none as they were closed, take what is printed and drop it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def replace_unencodable() -> None:
    """Let stdout and stderr show what their encoding lacks as escapes, where Python would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class PlainFormatter(logging.Formatter):
    """Log messages alone, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The message of a record as text alone."""
        return escaped(super().format(record))
