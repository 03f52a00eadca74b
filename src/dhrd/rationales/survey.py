"""What a run would ask, before it asks: open rows, tokens, and what has changed since the answers in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dhrd._text import shown
from dhrd.config import TeacherSettings
from dhrd.errors import DataError
from dhrd.rationales.teacher.prompt import Questions
from dhrd.rationales.teacher.purpose import Purpose
from dhrd.rationales.teacher.session import Session
from dhrd.rationales.teacher.store import Store, Totals
from dhrd.rationales.teacher.tally import Estimate, cost

SAMPLING = ("temperature", "top_p", "seed", "reasoning_effort", "extra_body")
"""Settings that are part of a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a run would ask.

    Args:
        num_rows: Rows of the data.
        num_open: Rows to be asked.
        prompt_tokens: Expected prompt tokens of these rows.
        most_prompt_tokens: Maximum prompt tokens, with each prompt sent as often as allowed.
        completion_tokens: Expected tokens of the answers.
        most_completion_tokens: Maximum tokens of the answers, each as long as `max_tokens` allows.
        counted_by: How prompt tokens were counted.
        estimate: What the expectation is based on.
        before: What the store already holds.
        num_unused: Questions with answers in the store that these rows do not ask.
        changed: What differs from the previous run, in words, which explains `num_unused`.
    """

    num_rows: int
    num_open: int
    prompt_tokens: int
    most_prompt_tokens: int
    completion_tokens: int
    most_completion_tokens: int
    counted_by: str
    estimate: Estimate
    before: Totals
    num_unused: int = 0
    changed: tuple[str, ...] = ()

    def costs(self, settings: TeacherSettings) -> dict[str, float] | None:
        """The expected cost, the maximum, and what was paid so far; None if no price is set."""
        tokens = {
            "expected": (self.prompt_tokens, self.completion_tokens),
            "most": (self.most_prompt_tokens, self.most_completion_tokens),
            "paid": (self.before.prompt_tokens, self.before.completion_tokens),
        }
        found = {name: cost(settings, *both) for name, both in tokens.items()}
        return {name: value for name, value in found.items() if value is not None} or None

    def record(self, settings: TeacherSettings) -> dict[str, object]:
        """For a program."""
        tokens = ("prompt_tokens", "most_prompt_tokens", "completion_tokens", "most_completion_tokens")
        counts = {name: getattr(self, name) for name in ("num_rows", "num_open", *tokens, "counted_by")}
        return {**counts, "cost": self.costs(settings), "warning": self.warning or None}

    @property
    def warning(self) -> str:
        """A warning if paid answers are not used, else ""."""
        if not self.num_open or not self.num_unused:
            return ""
        since = f" ({'; '.join(self.changed)})" if self.changed else ""
        return (
            f"{self.num_unused:,} answered questions in the store are not those of these rows{since}: another label "
            "set, template, text, model or sampling makes another question; "
            f"{self.num_open:,} of {self.num_rows:,} rows are asked"
        )


def survey(questions: Questions, purpose: Purpose, store: Store, manifest: Path | None = None) -> Survey:
    """Read all rows once, so that a bad row or template is an error before the first request.

    Args:
        questions: The rows.
        purpose: Which answers to accept.
        store: The existing answers.
        manifest: Manifest of the previous run, if any; None: these rows are not written, so ids may be duplicate.

    Raises:
        DataError: A row cannot be used, or there are none.
    """
    settings = questions.settings
    before = store.totals()
    estimate = Estimate.from_totals(before)
    session = Session(settings=settings, purpose=purpose, store=store)
    count, counted_by = _counter(settings, estimate)
    num_rows = num_open = num_answers = prompt_tokens = once = 0
    for question in questions:
        if manifest is not None:
            store.check_new(question.id)
        store.mark_asked(question.key)
        num_rows += 1
        if (asked := session.take(question)) is not None:
            num_open += 1
            num_answers += session.num_missing(asked)
            once += (tokens := count(question.prompt))
            prompt_tokens += tokens * session.num_missing(asked)
    if not num_rows:
        raise DataError(f"{questions.source.name}: no rows")
    most = settings.attempts * purpose.num_samples
    return Survey(
        num_rows=num_rows,
        num_open=num_open,
        prompt_tokens=prompt_tokens,
        most_prompt_tokens=once * most,
        completion_tokens=int(num_answers * estimate.tokens_per_answer),
        most_completion_tokens=num_open * settings.max_tokens * most,
        counted_by=counted_by,
        estimate=estimate,
        before=before,
        num_unused=store.num_unused() if questions.limit is None and manifest is not None else 0,
        changed=_changes(questions, manifest) if manifest is not None else (),
    )


def _changes(questions: Questions, manifest: Path) -> tuple[str, ...]:
    """The parts of a question in a manifest that have changed."""
    try:
        before = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or not ours: only the count is reported
        return ()
    if not isinstance(before, dict):
        return ()
    was = {**before, "template": _mapping(before.get("template")).get("sha256")} | _mapping(before.get("sampling"))
    return tuple(
        f"the {name} {'are' if name in ('labels', 'meanings') else 'is'} {shown(value)}, then {shown(was[name])}"
        if name != "template"
        else "the template differs"
        for name, value in _asked_with(questions).items()
        if name in was and was[name] != value
    )


def _asked_with(questions: Questions) -> dict[str, object]:
    """What is part of every question, by the manifest's names."""
    own = {"teacher": questions.settings.name, "labels": list(questions.labels.words)}
    sampling = {name: getattr(questions.settings, name) for name in SAMPLING}
    meanings = {} if questions.meanings is None else {"meanings": dict(questions.meanings)}
    return {**own, **meanings, "template": questions.template.sha256, **sampling}


def _mapping(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}


def _counter(settings: TeacherSettings, estimate: Estimate) -> tuple[Callable[[str], int], str]:
    """How to count a prompt's tokens, and how that is called."""
    if settings.tokenizer is None:
        basis = f"{estimate.bytes_per_token:.2f} bytes per token, " + (
            "as measured on the answers so far" if estimate.measured else "assumed; teacher.tokenizer counts them"
        )
        return estimate.prompt_tokens, basis
    from dhrd.model.backbone import load_tokenizer  # loads torch

    tokenizer = load_tokenizer(settings.tokenizer)
    return (lambda prompt: len(tokenizer(prompt, verbose=False)["input_ids"])), f"the tokenizer {settings.tokenizer}"
