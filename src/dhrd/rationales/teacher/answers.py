"""What a teacher said, and what it is worth: pure functions from answers to verdicts.

The store keeps answers as they came. Whether one is a rationale is decided again each time it is read, so a higher
limit, more samples or a better reader of answers never needs a second payment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from dhrd.data.records import LabelSet
from dhrd.rationales.teacher.content import read_content
from dhrd.rationales.teacher.forms import split
from dhrd.rationales.teacher.prompt import Question
from dhrd.rationales.teacher.thinking import without_thinking

Reason = Literal["empty", "cut", "no_sentinel", "no_label", "unreadable", "refused", "wrong_answer", "failed"]

_CUT = {"length", "max_tokens", "max_output_tokens", "model_length"}
_FILTERED = {
    "content_filter",
    "safety",
    "prohibited_content",
    "blocklist",
    "recitation",
    "refusal",
    "guardrail_intervened",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, as it came.

    Args:
        text: What the teacher wrote.
        finish: Why it stopped: "stop", "length", "content_filter", or the endpoint's own word.
        refusal: The endpoint's refusal, where it gave one.
        problem: Why there is no text; `text` is then the response as JSON.
        failure: Why there is no answer: the request was refused, or failed each time it was sent.
        max_tokens: The limit that it was asked with.
        prompt_bytes: UTF-8 bytes of the prompt; with `prompt_tokens`, used to estimate other prompts' tokens.
        prompt_tokens: Tokens read, by the endpoint's count if it gives one.
        completion_tokens: Tokens written.
        label_given: Whether the label was finally given to a model that is asked without it (`self:`).
        host: Who answered; "" in process.
        time: When, UTC, ISO 8601.
    """

    text: str = ""
    finish: str = "stop"
    refusal: str | None = None
    problem: str | None = None
    failure: str | None = None
    max_tokens: int = 0
    prompt_bytes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    label_given: bool = False
    host: str = ""
    time: str = ""

    @classmethod
    def of_record(cls, record: object) -> Answer:
        """From the store, whatever version wrote it: a field that is not what it is here stops no run."""
        given = record if isinstance(record, dict) else {"text": record}
        kept: dict[str, Any] = {
            part.name: given[part.name]
            for part in fields(cls)
            if isinstance(given.get(part.name), _TYPES[str(part.type)])
        }
        if "text" in kept:
            return cls(**kept)
        content = read_content(given.get("text"))
        return cls(**{"refusal": content.refusal, "problem": content.problem, **kept, "text": content.text})

    @property
    def is_cut(self) -> bool:
        """Whether it was stopped at `max_tokens`, or where there was no more room."""
        return self.finish.lower() in _CUT

    @property
    def is_out_of_room(self) -> bool:
        """Whether it was stopped before `max_tokens`: an artifact's sequences have a length (`self:`)."""
        return self.is_cut and not self.host and self.completion_tokens < self.max_tokens

    @property
    def is_filtered(self) -> bool:
        """Whether the endpoint held it back."""
        return self.finish.lower() in _FILTERED


_TYPES: dict[str, type] = {"str": str, "str | None": str, "int": int, "bool": bool}


@dataclass(frozen=True, slots=True)
class Rationale:
    """An explanation that can be learned from, or a vote for a label.

    Args:
        text: The explanation alone; "" if a vote came without one.
        agrees: Whether the teacher's own answer is the gold label, without having been given it in the end.
        label: Class indices of the teacher's own answer; None if it could not be read.
    """

    text: str
    agrees: bool
    label: tuple[int, ...] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an answer is not a rationale.

    Args:
        reason: Its kind.
        detail: What was found.
        again: Whether another attempt may fix it.
    """

    reason: Reason
    detail: str = ""
    again: bool = field(default=False, compare=False)


def judge(answer: Answer, question: Question, labels: LabelSet, *, label_hidden: bool) -> Rationale | Rejection:
    """Whether an answer holds a rationale.

    An answer that was stopped at `max_tokens` is `cut` only where it lacks something: the sentinel, or with
    `label_hidden` a readable label.
    """
    said = _parsed(answer, labels)
    if isinstance(said, Rejection):
        return said
    _, parts = said
    if parts is None:
        return Rejection("cut" if answer.is_cut else "no_sentinel", again=True)
    explanation, rest = parts
    if not explanation:
        return Rejection("empty", "no explanation before the sentinel", again=True)
    label = labels.read(rest)
    if label_hidden and label != question.label:
        if label is None and answer.is_cut:
            return Rejection("cut", again=True)
        return Rejection("wrong_answer", labels.write(label) if label is not None else rest.strip()[:80])
    return Rationale(explanation, agrees=label == question.label and not answer.label_given, label=label)


def judge_vote(answer: Answer, question: Question, labels: LabelSet) -> Rationale | Rejection:
    """Whether an answer holds a vote: a readable label after the sentinel, or a label and nothing else."""
    said = _parsed(answer, labels)
    if isinstance(said, Rejection):
        return said
    text, parts = said
    explanation, rest = parts or ("", text)
    label = labels.read(rest)
    if parts is None and (answer.is_cut or label != labels.read(text.strip().rpartition("\n")[2])):
        label = None  # the first of several options that it weighs is no vote
    if label is None:
        reason: Reason = "cut" if answer.is_cut else "no_sentinel" if parts is None else "no_label"
        return Rejection(reason, rest.strip()[:80], again=True)
    return Rationale(explanation, agrees=label == question.label, label=label)


def _parsed(answer: Answer, labels: LabelSet) -> tuple[str, tuple[str, str] | None] | Rejection:
    """What was said, and its explanation and rest; or why nothing was."""
    if answer.failure is not None:
        return Rejection("failed", answer.failure)
    if answer.refusal is not None or answer.is_filtered:
        return Rejection("refused", answer.refusal or "content filter")
    if answer.problem is not None:
        return Rejection("unreadable", answer.problem)
    said, parts = _parts(answer.text, labels)
    if not said.strip():  # cut before it said anything: the same limit would cut it again
        return Rejection("cut") if answer.is_cut else Rejection("empty", again=True)
    return said, parts


def _parts(text: str, labels: LabelSet) -> tuple[str, tuple[str, str] | None]:
    """What was said after thinking, and its explanation and rest.

    Tags that stand around thinking in one model stand around the explanation in another: where nothing would be left
    before the sentinel they are the latter.
    """
    said, parts = "", None
    for sure in (False, True):
        said = without_thinking(text, sure=sure)
        parts = split(said, lambda line: labels.read(line) is not None)
        if parts is not None and parts[0]:
            break
    return said, parts
