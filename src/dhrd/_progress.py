"""Progress bars: rate and time left on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def shows_bars() -> bool:
    """Whether stderr is a terminal, where a bar can be drawn."""
    return sys.stderr.isatty()


def bar() -> Progress:
    """A progress bar on stderr; it draws nothing if stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True, quiet=not shows_bars()),  # a disabled bar still ends its line
        transient=True,
        disable=not shows_bars(),
    )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar."""
    with bar() as progress:
        size = total if total is not None else len(items) if hasattr(items, "__len__") else None  # type: ignore[arg-type]
        task = progress.add_task(description, total=size, note="")
        for item in items:
            yield item
            progress.advance(task)


def in_words(seconds: float) -> str:
    """A number of seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
