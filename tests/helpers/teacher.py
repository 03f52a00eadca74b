"""Short ways to ask a teacher in tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import RunConfig, load_config
from dhrd.data.records import LabelSet
from dhrd.rationales.generate import generate_rationales
from dhrd.rationales.label import LabelledRows, label_rows
from dhrd.rationales.output import Written
from dhrd.rationales.teacher.prompt import SENTINEL, Question
from helpers.endpoint import FaultyEndpoint, Scripted, ScriptedEndpoint, serving
from helpers.rows import write_jsonl
from helpers.runs import Ended, read_jsonl, run_here

LABELS = LabelSet(("keep", "return"))
QUESTION = Question(id="r0", prompt="keep it?", key="k0", label=(0,))
GOOD = f"It still works.\n{SENTINEL}\nkeep"


def write_cases(path: Path, count: int, start: int = 0) -> Path:
    """Rows with ids, texts of their own and alternating labels."""
    rows = [
        {"id": f"r{i}", "input_text": f"case number {i}", "label": LABELS.names[i % 2]}
        for i in range(start, start + count)
    ]
    return write_jsonl(path, rows)


def teacher_config(endpoint: FaultyEndpoint, **settings: Any) -> RunConfig:
    """A config whose teacher is an endpoint; short timeouts."""
    given = {"name": "openai:tiny", "base_url": endpoint.url, "timeout_s": 5, **settings}
    return load_config(data__labels=LABELS.names, **{f"teacher__{name}": value for name, value in given.items()})


def ask(endpoint: FaultyEndpoint, data: Any, output: Path, **settings: Any) -> Written:
    """`generate_rationales` against an endpoint; `limit` and `retry_rejected` go to it, the rest are settings."""
    options = {name: settings.pop(name) for name in ("limit", "retry_rejected") if name in settings}
    return generate_rationales(teacher_config(endpoint, **settings), data, output, **options)


def label(endpoint: FaultyEndpoint, data: Any, output: Path, **settings: Any) -> LabelledRows:
    """`label_rows` against an endpoint; its own arguments go to it, the rest are settings."""
    own = ("gold", "min_accuracy", "limit", "retry_rejected", "teacher")
    options = {name: settings.pop(name) for name in own if name in settings}
    return label_rows(teacher_config(endpoint, **{"seed": 0, **settings}), data, output, **options)


def write_unlabelled(path: Path, count: int) -> Path:
    """The rows of `write_cases`, without labels."""
    return write_jsonl(path, [{"id": f"r{i}", "input_text": f"case number {i}"} for i in range(count)])


def case_of(prompt: str) -> int:
    """The number of the case that a prompt asks about."""
    return int(re.search(r"case number (\d+)", prompt)[1])  # type: ignore[index]


def ballot(*labels: str) -> Callable[[str, int], str]:
    """A teacher's answers to a row: of each vote, by its seed, a label with its own reason, or text as it is."""

    def vote(prompt: str, seed: int) -> str:
        label = labels[seed % len(labels)]
        told = f"Reason {seed} of case {case_of(prompt)}.\n{SENTINEL}\n{label}"
        return told if label in LABELS.names else label

    return vote


def manifest(output: Path) -> dict[str, Any]:
    """The manifest beside an output."""
    return json.loads(output.with_name(f"{output.stem}.manifest.json").read_text(encoding="utf-8"))


def ids(output: Path) -> list[str]:
    """The ids in an output."""
    return [row["id"] for row in read_jsonl(output)]


@contextmanager
def saying(respond: Scripted, **settings: Any) -> Iterator[ScriptedEndpoint]:
    """Serve an endpoint that answers as `respond` says."""
    with serving(ScriptedEndpoint(respond=respond, **settings)) as endpoint:
        yield endpoint


def generate(
    capsys: pytest.CaptureFixture[str], endpoint: ScriptedEndpoint, data: Path, output: Path, *more: str
) -> Ended:
    """`dhrd rationales generate` against an endpoint."""
    arguments = ["--data", data, "--output", output, "--teacher", "openai:tiny", "--base-url", endpoint.url]
    return run_here(capsys, "rationales", "generate", *arguments, *more)
