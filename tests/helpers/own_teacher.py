"""What stands for a trained reasoning head: it writes by a rule, in the form of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SELF = "dhrd.rationales.teacher.self.generate"
"""What a `Writer` takes the place of."""


class Writer:
    """Stands for the decoding of the reasoning head: keeps what it was asked, and writes by a rule."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        self.rule = rule
        self.asked: list[str] = []
        self.given: list[dict[str, Any]] = []

    def __call__(self, model: Any, tokenizer: Any, prompts: Any, **given: Any) -> list[list[int]]:
        self.given.append(given)
        texts = [tokenizer.decode(prompt) for prompt in prompts]
        self.asked += texts
        return [tokenizer(self.rule(text), add_special_tokens=False)["input_ids"] for text in texts]


def write_truly(text: str) -> str:
    """The rationale and the label of a row of `helpers.runs`, whose text names it."""
    label = text.split(": ")[1].split()[0]
    return " it was told" if is_told(text) else written_as("it says so", label)


def written_as(rationale: str, label: str) -> str:
    """As a trained head goes on after an input."""
    return f" {rationale}\nAnswer: {label}"


def is_told(text: str) -> bool:
    return text.rstrip().endswith("Reasoning:") and "\nAnswer: " in text
