"""Rationales from a teacher: survey the rows → ask what is open → write the output, then the manifest.

Everything paid for is in the store (`teacher/store.py`) before it counts; output and manifest are made from it anew,
so a run killed at any moment is gone on with by running the same command again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dhrd.config import RunConfig, TeacherSettings
from dhrd.data.progress import bar
from dhrd.data.rationales import DIGEST
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import label_set
from dhrd.data.sources import Source, open_source
from dhrd.errors import ConfigError
from dhrd.model.artifact import library_versions
from dhrd.model.backbone import Backbone, load_tokenizer
from dhrd.model.files import writing
from dhrd.teacher import client, local
from dhrd.teacher.answers import Rejection
from dhrd.teacher.prompt import Questions, load_template
from dhrd.teacher.session import Asked, Session
from dhrd.teacher.store import Store, Totals
from dhrd.teacher.tally import Estimate, Tally

MANIFEST_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a run would ask.

    Args:
        num_rows: Rows of the data.
        num_open: Those to be asked.
        prompt_tokens: Of those.
        completion_tokens: Of their answers, expected.
        most_completion_tokens: Of their answers, each as long as `max_tokens` allows.
        counted_by: What prompt tokens were counted by.
        estimate: What the expectation rests on.
        before: What the store holds already.
    """

    num_rows: int
    num_open: int
    prompt_tokens: int
    completion_tokens: int
    most_completion_tokens: int
    counted_by: str
    estimate: Estimate
    before: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """How the rows of a run ended.

    Args:
        output: The file of rationales.
        num_rows: Rows of the data.
        num_rationales: Rows that have one.
        num_disagreeing: Of those, rationales whose own answer is another label, though the label was given.
        rejected: Rows whose answers hold none, by reason.
        num_open: Rows not asked yet, as `max_cost` was reached.
        tally: Requests of this run; tokens of all runs.
        cost: Of all answers, this run's and earlier ones'; None where no price is set.
    """

    output: Path
    num_rows: int = 0
    num_rationales: int = 0
    num_disagreeing: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    num_open: int = 0
    tally: Tally = field(default_factory=Tally)
    cost: float | None = None


def generate_rationales(
    config: RunConfig,
    data: Any,
    output: str | Path,
    *,
    split: str = "train",
    limit: int | None = None,
    retry_rejected: bool = False,
    device: str | None = None,
    teacher: Backbone | None = None,
) -> Generated:
    """Ask a teacher for a rationale for each row (paper, experimental setup).

    Args:
        config: `teacher` says who is asked and within which limits, `data` how rows are read.
        data: As `data.train` of a config, or rows.
        output: A .jsonl file; the store and the manifest are put beside it.
        split: Of `superglue:` and `hub:`.
        limit: Only the first rows.
        retry_rejected: Ask rows again that were rejected before.
        device: For `local:`: "cpu", "cuda", "mps"; None: the best there is.
        teacher: A loaded model, instead of the one that `local:` names.

    Returns:
        The counts. `output` has an object a row that has a rationale, in the rows' order: `id`, `rationale`, `teacher`,
        `input_digest`.

    Raises:
        UserError: A setting, a row, the template, the teacher or the store cannot be used.
        SaveError: The disk is full; all answers before are kept.
    """
    output = _check_output(Path(output), data)
    questions = _questions(config, data, split, limit)
    with Store(_beside(output, "answers.sqlite")) as store:
        survey = _survey(questions, store)
        session = Session(
            settings=questions.settings,
            labels=questions.labels,
            store=store,
            tally=Tally(prompt_tokens=survey.before.prompt_tokens, completion_tokens=survey.before.completion_tokens),
            estimate=survey.estimate,
            retry_after=store.last_number() if retry_rejected else None,
        )
        ask = _asker(questions.settings, device, teacher) if survey.num_open or retry_rejected else None
        all_asked, found = True, None
        while found is None or (found.num_open and all_asked):  # a row equal to one in flight waits for a second round
            if ask is not None:
                with _progress(session, survey.num_rows) as watched:
                    all_asked = ask(watched.open(questions), watched)
            found = _write_output(output, questions, session)
        _write_manifest(output, found, questions, store)
    return found


def survey_rationales(
    config: RunConfig, data: Any, output: str | Path, *, split: str = "train", limit: int | None = None
) -> Survey:
    """What `generate_rationales` would ask and what that may cost; no request is sent and no file written.

    Args:
        config: As there.
        data: As there.
        output: As there; answers in a store beside it are not asked again.
        split: As there.
        limit: As there.

    Raises:
        UserError: As there.
    """
    output = _check_output(Path(output), data)
    path = _beside(output, "answers.sqlite")
    with Store(path if path.is_file() else Path(":memory:")) as store:
        return _survey(_questions(config, data, split, limit), store)


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(f"{output.stem}.{suffix}")


def _check_output(output: Path, data: Any) -> Path:
    if output.suffix != ".jsonl":
        raise ConfigError(f"--output {output}: rationales are JSON lines; give a name that ends in .jsonl")
    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}; make it first")
    if isinstance(data, str | Path) and Path(data).exists() and output.exists() and output.samefile(data):
        raise ConfigError(f"--output {output}: is the data itself; give another name")
    if output.exists() and not _beside(output, "answers.sqlite").is_file():
        raise ConfigError(
            f"--output {output}: exists, and no {_beside(output, 'answers.sqlite').name} beside it says that this "
            "command wrote it; move it away, or give another name"
        )
    return output


def _questions(config: RunConfig, data: Any, split: str, limit: int | None) -> Questions:
    settings = config.teacher
    if settings.name is None:
        raise ConfigError("no teacher is given: --teacher openai:MODEL or --teacher local:MODEL_OR_PATH")
    if settings.name.startswith("local:") and not settings.temperature:
        settings = settings.model_copy(update={"attempts": 1})  # the likeliest tokens are the same each time
    source = open_source(list(data) if isinstance(data, Iterator) else data, config.data, split=split)
    return Questions(
        source=source,
        labels=_labels(config, source),
        template=load_template(settings),
        settings=settings,
        data=config.data,
        limit=limit,
    )


def _labels(config: RunConfig, source: Source) -> LabelSet:
    """The label set, found over all rows whatever the limit: prompts name it, so it must not depend on that."""
    if config.data.labels is not None or source.labels is not None:
        return label_set(config, source, [])
    one_of_each: dict[Any, Example] = {}
    for example in source.examples():
        one_of_each.setdefault(example.label, example)
    return label_set(config, source, list(one_of_each.values()))


def _survey(questions: Questions, store: Store) -> Survey:
    """Read all rows once, so that a bad row or template is an error before the first request."""
    settings = questions.settings
    before = store.totals()
    estimate = Estimate.from_totals(before)
    session = Session(settings=settings, labels=questions.labels, store=store)
    count, counted_by = _counter(settings, estimate)
    num_rows = num_open = prompt_tokens = 0
    for question in questions:
        store.check_new(question.id)
        num_rows += 1
        if session.take(question) is not None:
            num_open += 1
            prompt_tokens += count(question.prompt)
    return Survey(
        num_rows=num_rows,
        num_open=num_open,
        prompt_tokens=prompt_tokens,
        completion_tokens=int(num_open * estimate.tokens_per_answer),
        most_completion_tokens=num_open * settings.max_tokens * settings.attempts * settings.samples,
        counted_by=counted_by,
        estimate=estimate,
        before=before,
    )


def _counter(settings: TeacherSettings, estimate: Estimate) -> tuple[Callable[[str], int], str]:
    """How to count a prompt's tokens, and how that is called."""
    if settings.tokenizer is None:
        basis = f"{estimate.bytes_per_token:.2f} bytes a token, " + (
            "as the answers so far show" if estimate.measured else "assumed; teacher.tokenizer counts them"
        )
        return estimate.prompt_tokens, basis
    tokenizer, _ = load_tokenizer(settings.tokenizer)
    return (lambda prompt: len(tokenizer(prompt, verbose=False)["input_ids"])), f"the tokenizer {settings.tokenizer}"


def _asker(
    settings: TeacherSettings, device: str | None, teacher: Backbone | None
) -> Callable[[Iterator[Asked], Session], bool]:
    kind, _, model = str(settings.name).partition(":")
    if kind == "openai":
        return client.ask
    return partial(local.ask, teacher=teacher or local.load_teacher(model, device))


@contextmanager
def _progress(session: Session, num_rows: int) -> Iterator[Session]:
    """The session, telling a progress bar of its questions."""
    with bar() as progress:
        task = progress.add_task("asking", total=num_rows, note="")
        yield replace(session, on_progress=lambda note: progress.update(task, advance=1, note=note))


def _write_output(output: Path, questions: Questions, session: Session) -> Generated:
    """Judge all answers, and write the rationales in the rows' order."""
    counts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    _beside(output, "manifest.json").unlink(missing_ok=True)  # what it says is no longer so
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
                row |= {DIGEST: question.digest}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return Generated(
        output=output,
        num_rows=counts["rows"],
        num_rationales=counts["rationales"],
        num_disagreeing=counts["disagreeing"],
        rejected=rejected,
        num_open=counts["open"],
        tally=session.tally,
        cost=session.cost(),
    )


def _write_manifest(output: Path, found: Generated, questions: Questions, store: Store) -> None:
    """Where the rationales come from; written last, so that a file with a manifest is whole."""
    settings, totals = questions.settings, store.totals()
    first, last = store.dates()
    sampling = {name: getattr(settings, name) for name in ("temperature", "top_p", "seed", "samples")}
    manifest = {
        "format": MANIFEST_FORMAT,
        "file": output.name,
        "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        "complete": not found.num_open,
        "data": questions.source.name,
        "teacher": settings.name,
        "endpoint_hosts": store.hosts(),
        "template": {"name": questions.template.name, "sha256": questions.template.sha256}
        | {"label_hidden": settings.label_hidden, "text": questions.template.text},
        "labels": list(questions.labels.words),
        "sampling": sampling | {"attempts": settings.attempts, "max_tokens": settings.max_tokens},
        "dates": {"first_answer": first, "last_answer": last},
        "rows": {
            "total": found.num_rows,
            "with_rationale": found.num_rationales,
            "naming_another_label": found.num_disagreeing,
            "rejected": dict(sorted(found.rejected.items())),
            "not_asked": found.num_open,
        },
        "requests_of_last_run": {
            "sent": found.tally.num_requests,
            "answered": found.tally.num_answers,
            "failed": dict(sorted(found.tally.failures.items())),
        },
        "answers": totals.num_answers,
        "tokens": {"prompt": totals.prompt_tokens, "completion": totals.completion_tokens},
        "cost": found.cost,
        "prices_per_million_tokens": {"input": settings.input_price, "output": settings.output_price},
        "versions": library_versions(),
    }
    with writing(_beside(output, "manifest.json")) as file:
        file.write(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
