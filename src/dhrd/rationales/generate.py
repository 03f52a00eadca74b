"""Rationales from a teacher: survey the rows → ask what is open → write the output, then the manifest.

Everything paid for is in the store (`teacher/store.py`) before it counts; output and manifest are made from it anew,
so a run killed at any moment is gone on with by running the same command again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from dhrd._outputs import Output, check_outputs
from dhrd._progress import bar
from dhrd.artifact.owned import inputs_of
from dhrd.config import RunConfig, TeacherSettings
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import label_set
from dhrd.data.sources import Source, open_source
from dhrd.errors import ConfigError, TeacherError
from dhrd.model.backbone import Backbone
from dhrd.rationales.output import Generated, beside, write_manifest, write_output
from dhrd.rationales.survey import Survey, survey
from dhrd.rationales.teacher.local import LocalTeacher
from dhrd.rationales.teacher.prompt import Questions, load_template
from dhrd.rationales.teacher.session import Session, Teacher
from dhrd.rationales.teacher.store import Store
from dhrd.rationales.teacher.tally import Tally

logger = logging.getLogger("dhrd")


def generate_rationales(
    config: RunConfig,
    data: object,
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
        UserError: A setting, a row, the template, the teacher or the store cannot be used. Where the teacher stopped a
            run, what was paid for by then is in `output` all the same.
        SaveError: The disk is full; all answers before are kept.
    """
    output = _check_output(Path(output), data, config)
    questions = _questions(config, data, split, limit)
    with Store(beside(output, "answers.sqlite")) as store:
        plan = survey(questions, store, beside(output, "manifest.json"))
        if plan.warning:
            logger.warning(plan.warning)
        session = Session(
            settings=questions.settings,
            labels=questions.labels,
            store=store,
            tally=Tally(prompt_tokens=plan.before.prompt_tokens, completion_tokens=plan.before.completion_tokens),
            estimate=plan.estimate,
            is_known=plan.num_open < plan.num_rows,
            retry_after=store.last_number() if retry_rejected else None,
        )
        asked = _teacher(questions.settings, device, teacher) if plan.num_open or retry_rejected else None
        return _ask_and_write(output, questions, session, asked, plan.num_rows)


def _ask_and_write(
    output: Path, questions: Questions, session: Session, teacher: Teacher | None, num_rows: int
) -> Generated:
    """Ask what is open, and write what has come of it, also where the teacher ends the run."""
    generated: Generated | None = None
    all_asked, stopped = teacher is not None, None
    # A row equal to one in flight waits for a second round.
    while generated is None or (generated.num_open and all_asked):
        try:
            if teacher is not None:
                with _progress(session, num_rows) as watched:
                    all_asked = teacher.ask(watched.open(questions), watched) and not session.tally.num_unanswered
        except TeacherError as error:
            if not session.store.totals().num_answers:  # there is nothing to write
                raise
            all_asked, stopped = False, error
        generated = write_output(output, questions, session)
        write_manifest(output, generated, questions, session.store)
    if stopped is not None:
        raise TeacherError(f"{stopped}; {generated.num_rationales:,} rationales so far are in {output}") from stopped
    return generated


def survey_rationales(
    config: RunConfig, data: object, output: str | Path, *, split: str = "train", limit: int | None = None
) -> Survey:
    """What `generate_rationales` would ask and what that may cost; no request is sent and no file written.

    Arguments and errors are as there; answers in a store beside `output` are not asked again.
    """
    output = _check_output(Path(output), data, config)
    path = beside(output, "answers.sqlite")
    with Store(path if path.is_file() else Path(":memory:")) as store:
        return survey(_questions(config, data, split, limit), store, beside(output, "manifest.json"))


def _check_output(output: Path, data: object, config: RunConfig) -> Path:
    if output.suffix != ".jsonl":
        raise ConfigError(f"`output` {output}: rationales are JSON lines; give a name that ends in .jsonl")
    if not output.parent.is_dir():
        raise ConfigError(f"`output` {output}: there is no folder {output.parent}; make it first")
    store, manifest = beside(output, "answers.sqlite"), beside(output, "manifest.json")
    check_outputs([Output("`output`", path) for path in (output, store, manifest)], inputs_of(config, data))
    for path in (output, manifest):
        if path.exists() and not store.is_file():
            raise ConfigError(
                f"`output` {output}: {path.name} exists, and no {store.name} beside it says that this command wrote "
                "it; move it away, or give another name"
            )
    return output


def _questions(config: RunConfig, data: object, split: str, limit: int | None) -> Questions:
    settings = config.teacher
    if settings.name is None:
        raise ConfigError("no teacher is given: `teacher.name=openai:MODEL` or `teacher.name=local:MODEL_OR_PATH`")
    if settings.is_greedy:
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
    if config.data.labels is None and source.labels is not None:
        return label_set(config, source, [])
    return label_set(config, source, [Example(label=row.label, where=row.where) for row in source.examples()])


def _teacher(settings: TeacherSettings, device: str | None, backbone: Backbone | None) -> Teacher:
    if settings.kind == "local" and backbone is not None:
        return LocalTeacher(backbone)
    kind: type[Teacher] = import_module(f"dhrd.rationales.teacher.{settings.kind}").TEACHER
    return kind.from_settings(settings, device)


@contextmanager
def _progress(session: Session, num_rows: int) -> Iterator[Session]:
    """The session, telling a progress bar of its questions."""
    with bar() as progress:
        task = progress.add_task("asking", total=num_rows, note="")
        yield replace(session, on_progress=lambda note: progress.update(task, advance=1, note=note))
