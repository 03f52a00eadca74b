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
from dhrd.rationales.audit.audit import Audit, audit_rationales
from dhrd.rationales.audit.flags import Audited
from helpers.rows import write_jsonl
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


ROWS, SOUND = cases(30)
"""Rows, and a sound rationale for each."""


def mixed() -> list[Any]:
    """Twenty sound lines, and faults of several kinds."""
    faults = [
        ["no object"],
        {"id": "r20"},
        {"id": "r3", "rationale": SOUND[21]},
        {"id": "none", "rationale": SOUND[22]},
    ]
    return [*lines(SOUND[:20]), *faults, {"id": "r25", "rationale": f"{SOUND[25]} So the answer is return."}]


def faulty() -> list[Any]:
    """Lines for the first twenty rows: four that are sound, and each kind of fault."""
    written: list[Any] = lines(SOUND[:12])
    written[2]["rationale"] += " So they return it."
    written[3]["rationale"] = "The answer is repair."
    written[4]["rationale"] = "Repair, they say. " + SOUND[4]
    written[5]["rationale"] = SOUND[15]
    written[6]["rationale"] = "Hm."
    written[7]["rationale"] = SOUND[7].removesuffix(".") + " and"
    written[8]["rationale"] = SOUND[8] + " [END OF REASONING]."
    written[9]["rationale"] = SOUND[9] + 2 * " Так сказал хозяин, который потерял ключ от дома и от сада."
    written += [{"id": "r12", "rationale": SOUND[0]}, {"id": "r1", "rationale": SOUND[16]}]
    written += [{"id": "nobody", "rationale": SOUND[17]}, {"id": "r13"}, ["r14", "text"], {"id": "r15", "rationale": 5}]
    return written


def audit(tmp_path: Path, written: Sequence[Any], rows: Any = ROWS, **settings: Any) -> Audit:
    """The audit of a file of these lines."""
    return audit_rationales(write_jsonl(tmp_path / "rationales.jsonl", written), rows, **settings)
