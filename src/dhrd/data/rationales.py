"""Joining rationales from a file of their own, by the row's id and the digest of its text."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dhrd._text import shown
from dhrd.data.check import is_word_of_missing_data
from dhrd.data.digest import digest_of, text_digest
from dhrd.data.fields import MAX_PROBLEMS, check_characters, key, optional_text
from dhrd.data.readers import read_file
from dhrd.data.records import Example
from dhrd.data.row import BadRow, Row
from dhrd.data.values import plain_columns
from dhrd.errors import DataError

DIGEST = "input_digest"
"""The column of a file of rationales that tells which text each is about."""

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True)
class RationaleRow:
    """A line of a file of rationales; `digest` is "" where it does not say which text it is about, `task` None where it
    does not say which task's label it reasons toward; `column` is where its text stands."""

    id: str
    text: str
    digest: str
    task: str | None = None
    column: str = "rationale"

    def is_about(self, example: Example) -> bool:
        """Whether it was written for this row's text, as far as it says; `convert` digests the `input_text` alone."""
        return not self.digest or self.digest in (digest_of(example), text_digest(example.input_text))


def join_rationales(
    examples: Sequence[Example],
    path: str | Path,
    tasks: Collection[str] = (),
    *,
    columns: Mapping[str, str] | None = None,
    delimiter: str = ",",
) -> list[Example]:
    """Give rows the rationales of a file of `id`, `rationale`, `input_digest` and, of several tasks, `task`.

    Where the rows have other columns for `id` and `rationale`, `columns` says which, and the file may have those.

    Says in a line each which part of the file, or of the rows, found no partner, and that lines without a digest are
    joined by their id alone.

    Raises:
        DataError: A row of the file is malformed or of a task that is none of `tasks`, an id occurs twice in either, no
            id matches, or a rationale was written for another text than its row's.
    """
    rationales = _read(Path(path), tasks, columns or {}, delimiter)
    ids = [example.id for example in examples]
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        raise DataError(
            f"data.rationales: the id {shown(twice[0])} occurs twice in the rows, so they cannot be joined by id"
        )
    num_matched = sum(row_id in rationales for row_id in ids)
    if not num_matched:
        first = next(iter(rationales), "none")
        raise DataError(
            f"{path}: none of its {len(rationales)} ids ({shown(first, 40)} …) is the id of a row "
            f"({shown(ids[0], 40)} …); the two must use the same ids{_hint(examples)}"
        )
    _check_texts(examples, rationales, path)
    num_unmatched, num_unused = len(ids) - num_matched, len(rationales) - num_matched
    log = logger.warning if num_unmatched or num_unused else logger.info
    counts = f"{num_matched} rows matched, {num_unmatched} rows without one, {num_unused} rationales unused"
    log("%s: rationales: %s", path, counts)
    return [_with_rationale(e, rationales[e.id]) if e.id in rationales else e for e in examples]


def _with_rationale(example: Example, row: RationaleRow) -> Example:
    return replace(example, rationale=row.text, rationale_task=row.task)


def _hint(examples: Sequence[Example]) -> str:
    if not any(e.id.startswith(e.digest) for e in examples if e.digest):
        return ""
    return "; rows without ids are identified by their text: generate again (stored answers are reused)"


def _check_texts(examples: Sequence[Example], rationales: Mapping[str, RationaleRow], path: str | Path) -> None:
    """Refuse rationales of other texts than their rows'; say how many do not tell."""
    pairs = [(example, rationales[example.id]) for example in examples if example.id in rationales]
    others = [example for example, rationale in pairs if not rationale.is_about(example)]
    if others:
        some = ", ".join(shown(example.id, 24) for example in others[:5]) + (" …" if len(others) > 5 else "")
        raise DataError(
            f"{path}: {len(others)} of {len(pairs)} rationales were written for a different text of their row "
            f"({some}); generate them again, or remove {DIGEST} from these lines to join them by id only"
        )
    if words := Counter(rationale.text for _, rationale in pairs if is_word_of_missing_data(rationale.text)):
        counts = ", ".join(f"{shown(word)} in {count} rows" for word, count in words.most_common(5))
        logger.warning("%s: words for missing values are kept as rationales (%s); leave such lines out", path, counts)
    if untold := sum(not rationale.digest for _, rationale in pairs):
        what = f"{untold} of {len(pairs)} rationales do not say which text they are about (no {DIGEST})"
        logger.warning("%s: %s; joined by id only", path, what)


def _read(path: Path, tasks: Collection[str], columns: Mapping[str, str], delimiter: str) -> dict[str, RationaleRow]:
    rationales: dict[str, RationaleRow] = {}
    problems: list[str] = []
    for row in read_file(path, delimiter=delimiter):
        rationale = read_rationale(row, columns)
        if isinstance(rationale, str):
            problems.append(rationale)
        elif rationale.id in rationales:
            problems.append(f"{row.where}: id: {shown(rationale.id)} occurs twice; keep one of the two")
        elif tasks and rationale.task not in (None, *tasks):
            problems.append(f"{row.where}: task: {shown(rationale.task)} is not one of {', '.join(tasks)}; correct it")
        else:
            rationales[rationale.id] = rationale
    if problems:
        raise DataError("\n".join(problems[:MAX_PROBLEMS]))
    return rationales


def read_rationale(row: Row | BadRow, mapping: Mapping[str, str]) -> RationaleRow | str:
    """A line of a file of rationales, or what is wrong with it: `file:line: what; fix`.

    Args:
        row: The line.
        mapping: Our field -> the column of the rows, which the line may have instead of ours.
    """
    if isinstance(row, BadRow):
        return f"{row.where}: {row.problem}"
    try:
        columns = plain_columns(row.columns)
        check_characters(row)
        id_column, column = (mapping[n] if mapping.get(n) in columns else n for n in ("id", "rationale"))
        row_id, text = key("id", columns.get(id_column)), optional_text("rationale", columns.get(column))
        digest = optional_text(DIGEST, columns.get(DIGEST)) or ""
        task = columns.get("task")
    except (ValueError, DataError) as error:
        return f"{row.where}: {error}"
    if row_id is None:
        return f"{row.where}: id: missing; every rationale needs the id of its row"
    if text is None:
        return f"{row.where}: rationale: missing or empty; leave the line out"
    return RationaleRow(row_id, text, digest, task if isinstance(task, str) else None, column)
