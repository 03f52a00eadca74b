"""Rationales to audit: real ones with their rows, and invented ones that no check has anything against."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dhrd.config.data import DataSettings
from dhrd.data.records import Example, LabelSet
from dhrd.data.sources import open_source
from dhrd.data.superglue import Task
from dhrd.rationales.audit.flags import Audited
from helpers.runs import read_jsonl

LABELS = LabelSet(("repair", "return"))


@dataclass(frozen=True)
class Taught:
    """A task's training rows, and its teacher's rationales with their rows."""

    task: Task
    labels: LabelSet
    examples: list[Example]
    rows: list[Audited]


@cache
def taught(shared_data: Path, task: str) -> Taught:
    """Read once, as MultiRC alone takes seconds."""
    source = open_source(f"superglue:{task}", DataSettings(superglue_root=str(shared_data / "superglue")))
    assert source.task is not None and source.labels is not None
    examples = source.load()
    by_id = {example.id: example for example in examples}
    lines = read_jsonl(shared_data / "rationales" / "teacher" / f"{task}.jsonl")
    rows = [written(line["rationale"], by_id[line["id"]], line["id"]) for line in lines]
    return Taught(source.task, source.labels, examples, rows)


def written(text: str, example: Example | None = None, row_id: str = "r0") -> Audited:
    """A rationale somewhere."""
    return Audited(where="rationales.jsonl:1", id=row_id, text=text, example=example)


def texts(*rationales: str) -> list[Audited]:
    """Rationales without rows."""
    return [written(text, row_id=f"r{number}") for number, text in enumerate(rationales)]


def word(rng: random.Random) -> str:
    """An invented word, which hardly occurs twice."""
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(4))


def cases(count: int, labels: Sequence[str] = LABELS.names, seed: int = 0) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of data, each of words of its own, and a sound rationale for each."""
    rng = random.Random(seed)
    rows, rationales = [], []
    for number in range(count):
        own = [word(rng) for _ in range(8)]
        text = f"{own[0]} brought a {own[1]} {own[2]} to {own[3]} while {own[4]} {own[5]} watched {own[6]} {own[7]}"
        rows.append({"id": f"r{number}", "input_text": text, "label": labels[number % len(labels)]})
        rationales.append(f"Only {own[0]} had {own[1]} {own[2]} in {own[3]}, as {own[4]} {own[5]} saw at {own[7]}.")
    return rows, rationales


def lines(rationales: Sequence[str]) -> list[dict[str, Any]]:
    """The lines of a file of rationales for `cases`."""
    return [{"id": f"r{number}", "rationale": text} for number, text in enumerate(rationales)]
