"""Joining rationales from a file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dhrd.data.fields import MAX_PROBLEMS, check_characters, key, optional_text
from dhrd.data.readers import BadRow, Row, read_file
from dhrd.data.records import Example
from dhrd.errors import DataError


@dataclass(frozen=True, slots=True)
class JoinReport:
    """How a file of rationales met the rows."""

    num_matched: int
    num_unmatched: int
    num_unused: int

    def summary(self) -> str:
        """One line for a person."""
        return (
            f"rationales: {self.num_matched} rows matched, {self.num_unmatched} rows without one, "
            f"{self.num_unused} rationales of no row"
        )


def join_rationales(examples: Sequence[Example], path: str | Path) -> tuple[list[Example], JoinReport]:
    """Give rows the rationales of a JSONL file of `id`, `rationale`.

    Raises:
        DataError: A row of the file is malformed, an id occurs twice in either, or no id matches.
    """
    rationales: dict[str, str] = {}
    problems: list[str] = []
    for row in read_file(Path(path)):
        problem = _take_rationale(row, rationales)
        if problem and len(problems) < MAX_PROBLEMS:
            problems.append(problem)
    if problems:
        raise DataError("\n".join(problems))
    ids = [example.id for example in examples]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise DataError(f"data.rationales: the id {twice!r} occurs twice in the rows, so they cannot be joined by id")
    joined = [replace(e, rationale=rationales[e.id]) if e.id in rationales else e for e in examples]
    num_matched = sum(one in rationales for one in ids)
    if not num_matched:
        raise DataError(
            f"{path}: none of its {len(rationales)} ids ({next(iter(rationales), 'none')!r} …) is the id of a row "
            f"({ids[0]!r} …); the two must use the same ids"
        )
    return joined, JoinReport(num_matched, len(ids) - num_matched, len(rationales) - num_matched)


def _take_rationale(row: Row | BadRow, rationales: dict[str, str]) -> str | None:
    found = read_rationale(row)
    if isinstance(found, str):
        return found
    row_id, text = found
    if row_id in rationales:
        return f"{row.where}: id: {row_id!r} occurs twice; keep one of the two"
    rationales[row_id] = text
    return None


def read_rationale(row: Row | BadRow) -> tuple[str, str] | str:
    """The id and the text of a line of a file of rationales, or what is wrong with it: `file:line: what; fix`."""
    if isinstance(row, BadRow):
        return f"{row.where}: {row.problem}"
    try:
        check_characters(row)
        row_id, text = key("id", row.columns.get("id")), optional_text("rationale", row.columns.get("rationale"))
    except ValueError as error:
        return f"{row.where}: {error}"
    if row_id is None:
        return f"{row.where}: id: missing; every rationale needs the id of its row"
    if text is None:
        return f"{row.where}: rationale: missing or empty; leave the line out"
    return row_id, text
