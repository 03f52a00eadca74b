"""The output of a run: the teacher's results in the rows' order, then a manifest that records their origin."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dhrd._files import writing
from dhrd._versions import library_versions
from dhrd.rationales.survey import SAMPLING
from dhrd.rationales.teacher.answers import Rejection
from dhrd.rationales.teacher.prompt import Questions
from dhrd.rationales.teacher.session import Session
from dhrd.rationales.teacher.tally import Tally, cost

MANIFEST_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How the rows of a run ended.

    Args:
        output: The file.
        num_rows: Rows of the data.
        num_written: Rows in the output.
        noted: Counts over these, by the manifest's names.
        rejected: Rows without an acceptable answer, by reason.
        num_open: Rows without an answer yet: `max_cost` was reached, or none came; the next run asks them.
        tally: Requests of this run; tokens of all runs.
        cost: Cost of all answers, of this run and earlier ones; None if no price is set.
        possible_cost: Cost of this run's requests that may be billed although no answer came; None if no price is set.
    """

    output: Path
    num_rows: int = 0
    num_written: int = 0
    noted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    num_open: int = 0
    tally: Tally = field(default_factory=Tally)
    cost: float | None = None
    possible_cost: float | None = None

    @property
    def num_rationales(self) -> int:
        """Rows that have a rationale, where that is what was asked for."""
        return self.num_written

    def record(self) -> dict[str, object]:
        """For a program."""
        counts = {name: getattr(self, name) for name in ("num_rows", "num_written", "num_open")}
        told = ("num_requests", "num_answers", "num_unanswered", "prompt_tokens", "completion_tokens", "num_lost")
        return {
            "output": str(self.output),
            **counts,
            **self.noted,
            "rejected": dict(self.rejected),
            **{name: getattr(self.tally, name) for name in told},
            "failures": dict(self.tally.failures),
            "cost": self.cost,
            "possible_cost": self.possible_cost,
        }


def beside(output: Path, suffix: str) -> Path:
    """A file that goes with an output."""
    return output.with_name(f"{output.stem}.{suffix}")


def write_output(output: Path, questions: Questions, session: Session) -> Written:
    """Judge all answers, and write the results in the rows' order."""
    counts: Counter[str] = Counter()
    noted = Counter(session.purpose.notes(()))
    rejected: Counter[str] = Counter()
    beside(output, "manifest.json").unlink(missing_ok=True)  # it is no longer valid
    with writing(output) as file:
        for question in questions:
            counts["rows"] += 1
            standing = session.standing(question)
            if standing is None:
                counts["open"] += 1
            elif isinstance(standing, Rejection):
                rejected[standing.reason] += 1
            else:
                counts["written"] += 1
                noted.update(session.purpose.notes(standing))
                file.row(session.purpose.line(question, standing))
    return Written(
        output=output,
        num_rows=counts["rows"],
        num_written=counts["written"],
        noted=noted,
        rejected=rejected,
        num_open=counts["open"],
        tally=session.tally,
        cost=session.cost(),
        possible_cost=cost(session.settings, session.tally.lost_prompt_tokens, session.tally.lost_completion_tokens),
    )


def write_manifest(
    output: Path, written: Written, questions: Questions, session: Session, told: Mapping[str, object]
) -> None:
    """Where the output comes from; written last, so that a file with a manifest is whole.

    Args:
        output: The file.
        written: What is in it.
        questions: The rows.
        session: The run.
        told: Further entries of the manifest.
    """
    settings, store = questions.settings, session.store
    totals, (first, last) = store.totals(), store.dates()
    sampling = {name: getattr(settings, name) for name in SAMPLING} | {"samples": session.purpose.num_samples}
    manifest = {
        "format": MANIFEST_FORMAT,
        "file": output.name,
        "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        "complete": not written.num_open,
        "data": questions.source.name,
        "teacher": settings.name,
        "endpoint_hosts": store.hosts(),
        "template": {"name": questions.template.name, "sha256": questions.template.sha256}
        | {"label_hidden": questions.template.label_hidden, "text": questions.template.text},
        "labels": list(questions.labels.words),
        "sampling": sampling | {"attempts": settings.attempts, "max_tokens": settings.max_tokens},
        "dates": {"first_answer": first, "last_answer": last},
        "rows": {
            "total": written.num_rows,
            session.purpose.written_as: written.num_written,
            **written.noted,
            "rejected": dict(sorted(written.rejected.items())),
            "not_asked": written.num_open,
        },
        "requests_of_last_run": {
            "sent": written.tally.num_requests,
            "answered": written.tally.num_answers,
            "failed": dict(sorted(written.tally.failures.items())),
        },
        "perhaps_billed_without_an_answer": {
            "requests": written.tally.num_lost,
            "most_cost": written.possible_cost,
        },
        "answers": totals.num_answers,
        "tokens": {"prompt": totals.prompt_tokens, "completion": totals.completion_tokens},
        "cost": written.cost,
        "prices_per_million_tokens": {"input": settings.input_price, "output": settings.output_price},
        "versions": library_versions(),
        **told,
    }
    with writing(beside(output, "manifest.json")) as file:
        file.json(manifest)
