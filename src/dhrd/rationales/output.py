"""What a run leaves: the rationales in the rows' order, then a manifest that says where they come from."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dhrd._files import writing
from dhrd._versions import library_versions
from dhrd.data.rationales import DIGEST
from dhrd.rationales.survey import SAMPLING
from dhrd.rationales.teacher.answers import Rejection
from dhrd.rationales.teacher.prompt import Questions
from dhrd.rationales.teacher.session import Session
from dhrd.rationales.teacher.store import Store
from dhrd.rationales.teacher.tally import Tally, cost

MANIFEST_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """How the rows of a run ended.

    Args:
        output: The file of rationales.
        num_rows: Rows of the data.
        num_rationales: Rows that have one.
        num_disagreeing: Of those, rationales whose own answer is another label, though the label was given.
        rejected: Rows whose answers hold none, by reason.
        num_open: Rows without an answer yet: `max_cost` was reached, or none came; the next run asks them.
        tally: Requests of this run; tokens of all runs.
        cost: Of all answers, this run's and earlier ones'; None where no price is set.
        possible_cost: Of this run's requests that may be billed though no answer came; None likewise.
    """

    output: Path
    num_rows: int = 0
    num_rationales: int = 0
    num_disagreeing: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    num_open: int = 0
    tally: Tally = field(default_factory=Tally)
    cost: float | None = None
    possible_cost: float | None = None


def beside(output: Path, suffix: str) -> Path:
    """A file that goes with an output."""
    return output.with_name(f"{output.stem}.{suffix}")


def write_output(output: Path, questions: Questions, session: Session) -> Generated:
    """Judge all answers, and write the rationales in the rows' order."""
    counts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    beside(output, "manifest.json").unlink(missing_ok=True)  # what it says is no longer so
    with writing(output) as file:
        for question in questions:
            counts["rows"] += 1
            standing = session.standing(question)
            if standing is None:
                counts["open"] += 1
            elif isinstance(standing, Rejection):
                rejected[standing.reason] += 1
            else:
                counts["rationales"] += 1
                counts["disagreeing"] += not standing.agrees
                row = {"id": question.id, "rationale": standing.text, "teacher": session.settings.name}
                file.row(row | {DIGEST: question.digest})
    return Generated(
        output=output,
        num_rows=counts["rows"],
        num_rationales=counts["rationales"],
        num_disagreeing=counts["disagreeing"],
        rejected=rejected,
        num_open=counts["open"],
        tally=session.tally,
        cost=session.cost(),
        possible_cost=cost(session.settings, session.tally.lost_prompt_tokens, session.tally.lost_completion_tokens),
    )


def write_manifest(output: Path, generated: Generated, questions: Questions, store: Store) -> None:
    """Where the rationales come from; written last, so that a file with a manifest is whole."""
    settings, totals = questions.settings, store.totals()
    first, last = store.dates()
    sampling = {name: getattr(settings, name) for name in (*SAMPLING, "samples")}
    manifest = {
        "format": MANIFEST_FORMAT,
        "file": output.name,
        "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        "complete": not generated.num_open,
        "data": questions.source.name,
        "teacher": settings.name,
        "endpoint_hosts": store.hosts(),
        "template": {"name": questions.template.name, "sha256": questions.template.sha256}
        | {"label_hidden": settings.label_hidden, "text": questions.template.text},
        "labels": list(questions.labels.words),
        "sampling": sampling | {"attempts": settings.attempts, "max_tokens": settings.max_tokens},
        "dates": {"first_answer": first, "last_answer": last},
        "rows": {
            "total": generated.num_rows,
            "with_rationale": generated.num_rationales,
            "naming_another_label": generated.num_disagreeing,
            "rejected": dict(sorted(generated.rejected.items())),
            "not_asked": generated.num_open,
        },
        "requests_of_last_run": {
            "sent": generated.tally.num_requests,
            "answered": generated.tally.num_answers,
            "failed": dict(sorted(generated.tally.failures.items())),
        },
        "perhaps_billed_without_an_answer": {
            "requests": generated.tally.num_lost,
            "most_cost": generated.possible_cost,
        },
        "answers": totals.num_answers,
        "tokens": {"prompt": totals.prompt_tokens, "completion": totals.completion_tokens},
        "cost": generated.cost,
        "prices_per_million_tokens": {"input": settings.input_price, "output": settings.output_price},
        "versions": library_versions(),
    }
    with writing(beside(output, "manifest.json")) as file:
        file.json(manifest)
