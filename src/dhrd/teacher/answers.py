"""What a teacher said, and what it is worth: pure functions from answers to verdicts.

The store keeps answers as they came. Whether one is a rationale is decided anew each time it is read, so a higher
limit, more samples or a better reader of answers never needs a second payment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dhrd.config import TeacherSettings
from dhrd.data.records import LabelSet
from dhrd.teacher.prompt import SENTINEL, Question

Reason = Literal["empty", "cut", "no_sentinel", "refused", "wrong_answer", "failed"]

_AGAIN: frozenset[Reason] = frozenset({"empty", "cut", "no_sentinel"})
"""What another attempt may mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, as it came.

    Args:
        text: What the teacher wrote.
        finish: Why it stopped: "stop", "length", "content_filter", or the endpoint's own word.
        refusal: The endpoint's refusal, where it gave one.
        failure: Why there is no answer: the request was refused, or failed each time it was sent.
        max_tokens: The limit that it was asked with.
        prompt_bytes: Of the prompt, UTF-8: with `prompt_tokens` it tells how many tokens other prompts have.
        prompt_tokens: Tokens read, by the endpoint's count where it gives one.
        completion_tokens: Tokens written.
        host: Who answered; "" in process.
        time: When, UTC, ISO 8601.
    """

    text: str = ""
    finish: str = "stop"
    refusal: str | None = None
    failure: str | None = None
    max_tokens: int = 0
    prompt_bytes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    host: str = ""
    time: str = ""

    def record(self) -> dict[str, Any]:
        """For the store."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rationale:
    """An explanation that can be learned from.

    Args:
        text: The explanation alone.
        agrees: Whether the teacher's own answer is the gold label.
    """

    text: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an answer is not a rationale."""

    reason: Reason
    detail: str = ""


def judge(answer: Answer, question: Question, labels: LabelSet, *, label_hidden: bool) -> Rationale | Rejection:
    """Whether an answer holds a rationale.

    An answer that was stopped at `max_tokens` is `cut` only where it lacks something: the sentinel, or with
    `label_hidden` a readable label.
    """
    if answer.failure is not None:
        return Rejection("failed", answer.failure)
    if answer.refusal is not None or answer.finish == "content_filter":
        return Rejection("refused", answer.refusal or "content filter")
    text = _TAGS.sub("", _THOUGHTS.sub("", answer.text))
    if not text.strip():
        return Rejection("cut" if answer.finish == "length" else "empty")
    explanation, found, rest = _split(text)
    if not found:
        return Rejection("cut" if answer.finish == "length" else "no_sentinel")
    if not explanation:
        return Rejection("empty", "no explanation before the sentinel")
    said = labels.read(rest)
    if label_hidden and said != question.label:
        if said is None and answer.finish == "length":
            return Rejection("cut")
        return Rejection("wrong_answer", labels.write(said) if said is not None else rest.strip()[:80])
    return Rationale(explanation, agrees=said == question.label)


def standing(
    answers: Sequence[Answer], question: Question, labels: LabelSet, settings: TeacherSettings
) -> Rationale | Rejection | None:
    """What all answers to a question come to.

    Args:
        answers: In the order in which they came.
        question: What was asked.
        labels: The label set.
        settings: `attempts` at each of `samples`; an answer cut at less than today's `max_tokens` is no attempt.

    Returns:
        The first rationale; or, where all samples are used up, the last rejection; or None: ask (again).
    """
    attempts = samples = 0
    last: Rejection | None = None
    for answer in answers:
        verdict = judge(answer, question, labels, label_hidden=settings.label_hidden)
        if isinstance(verdict, Rationale):
            return verdict
        if verdict.reason == "cut" and answer.max_tokens < settings.max_tokens:
            continue
        last = verdict
        attempts += 1
        if verdict.reason not in _AGAIN or attempts >= settings.attempts:
            samples, attempts = samples + 1, 0
    return last if samples >= settings.samples else None


# What some models write before their answer; where it is cut there is no answer at all.
_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_SENTINEL = re.compile(r"[*_`#\s]*" + r"\s+".join(map(re.escape, SENTINEL.split())) + r"[*_`]*", re.IGNORECASE)
_TAGS = re.compile(r"</?(?:explanation|reasoning|rationale|answer)>", re.IGNORECASE)  # the prompt's form, copied
_HEADING = re.compile(r"\A[\s*_#]*(?:explanation|reasoning|rationale)[*_]*\s*:[*_]*\s*", re.IGNORECASE)
_ANSWER_LINE = re.compile(r"\n[\s*_#]*(?:(?:the\s+)?(?:final\s+)?answer(?:\s+is)?)[*_]*\s*:[^\n]*\Z", re.IGNORECASE)


def _split(text: str) -> tuple[str, bool, str]:
    match = _SENTINEL.search(text)
    if match is None:
        return "", False, ""
    explanation = _HEADING.sub("", text[: match.start()])
    return _ANSWER_LINE.sub("", "\n" + explanation.rstrip()).strip(), True, text[match.end() :]
