"""Rows that an artifact, or its decision, was chosen on: on these its metrics are too optimistic."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dhrd.artifact.known_rows import CHOSEN, DECIDED, read_digests
from dhrd.data.digest import digest_of
from dhrd.data.records import Example

logger = logging.getLogger("dhrd")

_MOST = 0.5  # share of the rows above which the metrics count as those of the rows of the choice


def num_chosen(model_dir: str | Path, digests: Iterable[str]) -> int:
    """Count the rows that weights or a temperature were chosen on; an artifact of an earlier version knows none.

    Args:
        model_dir: An artifact.
        digests: The rows' digests.
    """
    known = _read(model_dir, CHOSEN)
    return sum(digest in known for digest in digests)


@dataclass
class ChosenRows:
    """Counts the rows of an evaluation that a choice was made on.

    Args:
        chosen: Digests of the rows that weights or a temperature were chosen on.
        decided: Digests of the rows that the decision was chosen on.
    """

    chosen: set[str]
    decided: set[str]
    num_rows: int = 0
    num_chosen: int = 0
    num_decided: int = 0

    @classmethod
    def of(cls, model_dir: str | Path) -> ChosenRows:
        """Those that an artifact knows."""
        return cls(_read(model_dir, CHOSEN), _read(model_dir, DECIDED))

    def counted(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Pass rows on, and count them."""
        for example in examples:
            digest = digest_of(example)
            self.num_rows += 1
            self.num_chosen += digest in self.chosen
            self.num_decided += digest in self.decided
            yield example

    def mark(self, metrics: dict[str, Any], *, asks_decision: bool = False) -> None:
        """Set `selected_on` where most rows are of a choice, and say how many are where they are few.

        Args:
            metrics: Of the rows that were counted; changed.
            asks_decision: Whether the decision had a part in the answers.
        """
        was_choice = self._are_most(self.num_chosen) or (asks_decision and self._are_most(self.num_decided))
        metrics["selected_on"] = metrics["selected_on"] or was_choice
        if decision := metrics.get("decision"):
            decision["selected_on"] = decision["selected_on"] or self._are_most(self.num_decided)
        if self.num_chosen and not metrics["selected_on"]:
            told = "weights or a temperature were chosen on %d of the %d rows, so the metrics are a little optimistic"
            logger.warning(told, self.num_chosen, self.num_rows)

    def _are_most(self, count: int) -> bool:
        return count > _MOST * self.num_rows


def _read(model_dir: str | Path, name: str) -> set[str]:
    return read_digests(Path(model_dir).expanduser() / name) or set()
