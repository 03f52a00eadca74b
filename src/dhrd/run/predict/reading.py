"""Reading rows for the model, with what another run needs to resume after them."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence

from dhrd._text import shown
from dhrd.data.digest import exact_digest
from dhrd.data.records import Example
from dhrd.data.row import BadRow, Row
from dhrd.data.source import Source
from dhrd.errors import ConfigError, DataError
from dhrd.run.predict.sinks import Refused

_ANOTHER = "these are not the rows of the interrupted run; give the same rows, or start over without `resume`"


class Reading:
    """The rows of a source, in order; bad rows are skipped or raise.

    Args:
        source: The source of the rows.
        keep: Columns to copy to the output.
        skip: Skip bad rows.
        is_part: They are a part of the input, whose first rows were checked for these columns before.

    Attributes:
        skips: Whether bad rows are skipped.
        num_taken: Number of finished rows, including skipped ones.
        digest: Digest of those rows, in order.
    """

    def __init__(self, source: Source, *, keep: Sequence[str], skip: bool, is_part: bool = False) -> None:
        self.skips = skip
        self.num_taken = 0
        self.digest = ""
        self._keep = keep
        self._unseen = () if is_part else keep  # cleared once the first good row has been seen to have them
        self._pending: deque[tuple[Example | Refused, str]] = deque()  # read, but not finished
        self._examples = source.examples(labels_required=False, refuse=self._refuse if skip else None)

    def __iter__(self) -> Iterator[Example]:
        for example in self._examples:
            self._remember(example)
            yield example

    def go_to(self, num_rows: int, digest: str, *, is_last: bool = False) -> None:
        """Skip the rows that another run has finished; with `is_last`, there must be no more.

        Raises:
            ConfigError: They are different rows.
        """
        rows = iter(self)
        while self.num_taken < num_rows:
            if next(rows, None) is None:
                break
            self.taken(1, ())
        has_more = is_last and next(rows, None) is not None
        if (self.num_taken, self.digest) != (num_rows, digest) or has_more:
            raise ConfigError(_ANOTHER)

    def taken(self, num_rows: int, refused: Sequence[tuple[Example, DataError]]) -> list[Refused]:
        """Mark the next rows as finished.

        Args:
            num_rows: Number of rows, not counting those skipped while reading.
            refused: Those of them that could not be encoded.

        Returns:
            All rows skipped since the last call, in order.
        """
        problems = {id(example): error for example, error in refused}
        found = []
        while num_rows:
            row, self.digest = self._pending.popleft()
            self.num_taken += 1
            if isinstance(row, Refused):
                found.append(row)
                continue
            num_rows -= 1
            if id(row) in problems:
                found.append(Refused(row.where, str(problems[id(row)]).removeprefix(f"{row.where}: ")))
        return found

    def late(self) -> list[Refused]:
        """Rows skipped after the last good one."""
        return [row for row, _ in self._pending if isinstance(row, Refused)]

    def _refuse(self, row: Row | BadRow, problem: str) -> None:
        self._append(Refused(row.where, problem), problem)

    def _remember(self, example: Example) -> None:
        if missing := next((name for name in self._unseen if name not in example.fields), None):
            raise DataError(f"{example.where}: there is no column {shown(missing)} to keep; leave it out")
        self._unseen = ()
        kept = [example.fields.get(name) for name in self._keep]
        self._append(example, json.dumps([example.id, exact_digest(example), kept], default=str))

    def _append(self, row: Example | Refused, content: str) -> None:
        before = self._pending[-1][1] if self._pending else self.digest
        digest = hashlib.blake2b(f"{before}{content}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self._pending.append((row, digest))
