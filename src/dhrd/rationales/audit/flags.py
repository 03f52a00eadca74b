"""One line of a file of rationales, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dhrd.data.records import Example

KINDS = {
    "malformed": "The line is not an object with an id and a rationale.",
    "duplicate_id": "The id also occurs on an earlier line.",
    "unmatched_id": "No row of the data has this id.",
    "other_text": "It was written for a different text of the row.",
    "label_leak": "It names the label or states a verdict.",
    "misaligned": "It is about another row's input rather than its own.",
    "length": "It has too few words to be useful, or far more than the others.",
    "near_duplicate": "It is nearly identical to an earlier one.",
    "truncated": "It stops in the middle of a sentence.",
    "damaged": "It contains broken characters or markup.",
    "beginning": "It starts like nearly all others: a habit of their author, or left-over thinking.",
    "language": "It is in a different language or script from the others.",
    "worthless": "It hardly makes the row's label more likely to the model.",
}
"""Kinds of flags, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One finding about one line of a file of rationales.

    Args:
        kind: A key of `KINDS`.
        detail: What was found, in words.
        spans: Where in the rationale, as (start, end) in characters.
    """

    kind: str
    detail: str
    spans: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One line of the file.

    Args:
        where: `file:line`.
        id: The row's id; "" if the line has none.
        text: The rationale; "" if the line has none.
        column: The column of the rationale.
        columns: The whole line.
        example: The row of the data; None if no row has this id.
        num_words: Number of words of the rationale.
        rank: Rank of its own input among the others' (see `alignment`); None if undetermined.
        worth: How much likelier, in nats, a model finds the row's label after reading it; None: no model was asked.
        flags: What is wrong with it.
    """

    where: str
    id: str = ""
    text: str = ""
    column: str = "rationale"
    columns: Mapping[str, object] = field(default_factory=dict)
    example: Example | None = None
    num_words: int = 0
    rank: float | None = None
    worth: float | None = None
    flags: tuple[Flag, ...] = ()
