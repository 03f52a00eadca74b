"""What each row is taught: its own rationale and answer, or those of another row (paper, Table 2)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dhrd.data.records import Example
from dhrd.errors import DataError

RationaleMode = Literal["aligned", "label_only", "shuffled", "shuffled_with_label"]


@dataclass(frozen=True, slots=True)
class Supervised:
    """A row, and the rows that its rationale and its label come from: itself unless shuffled.

    Args:
        example: The row.
        reason_donor: The row whose rationale it is taught; None: none.
        label_donor: The row whose class it is taught.
        with_answer: Whether it is taught to write that class's word as well.
    """

    example: Example
    reason_donor: Example | None
    label_donor: Example
    with_answer: bool

    @property
    def rationale(self) -> str:
        """What the row is taught; "" where there is none."""
        return (self.reason_donor.rationale or "").strip() if self.reason_donor else ""

    @property
    def task(self) -> str | None:
        """With several tasks, the task whose answer it is taught, with its rationale or without; None: the first."""
        return (self.reason_donor or self.example).rationale_task


def supervise(examples: Sequence[Example], mode: RationaleMode, seed: int) -> list[Supervised]:
    """Decide what each row is taught (paper, Table 2).

    `aligned`: its own rationale and answer. `label_only`: no rationale, on the same rows (all rows where none has a
    rationale). `shuffled`: another row's rationale. `shuffled_with_label`: another row's rationale, answer and class
    label. Rows without a rationale are taught their class alone. Donors are one seeded derangement for the whole run.

    Raises:
        DataError: There are fewer than two rationales to shuffle.
    """
    reasoned = [i for i, example in enumerate(examples) if example.rationale]
    if mode == "label_only":
        taught = set(reasoned) or set(range(len(examples)))
        return [Supervised(e, None, e, i in taught) for i, e in enumerate(examples)]
    donor_of = {i: i for i in reasoned}
    if mode in ("shuffled", "shuffled_with_label"):
        if len(reasoned) < 2:
            raise DataError(
                f"data.rationale_mode: {mode} needs at least two rows with a rationale, got {len(reasoned)}"
            )
        cycle = list(reasoned)
        random.Random(f"donors {seed}").shuffle(cycle)
        donor_of = dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))
    result = []
    for i, example in enumerate(examples):
        donor = examples[donor_of[i]] if i in donor_of else None
        label_donor = donor if donor is not None and mode == "shuffled_with_label" else example
        result.append(Supervised(example, donor, label_donor, donor is not None))
    return result
