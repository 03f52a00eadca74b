"""Labels from a teacher, for rows that have none: each row is asked several times, and the votes are its label."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from dhrd._text import shown
from dhrd.artifact.owned import inputs_of
from dhrd.config import RunConfig, TeacherSettings
from dhrd.data.records import LabelSet
from dhrd.data.row import BadRow, Row
from dhrd.data.source import Source
from dhrd.data.sources import open_source
from dhrd.data.values import is_blank, plain
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.asking import Asking, asked_settings, check_output, looked_at, open_store, ready_teacher
from dhrd.rationales.gold import Gold, read_gold, vote_shares
from dhrd.rationales.label_file import labels_to_choose
from dhrd.rationales.output import Written, beside
from dhrd.rationales.survey import Survey, survey
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection, judge_vote
from dhrd.rationales.teacher.prompt import Question, Questions, load_template
from dhrd.rationales.teacher.session import Teacher

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The result of `label_rows`.

    Args:
        rows: The rows; None if they were not asked: there were none, or accuracy on the gold rows was too low.
        gold: The rows whose labels are known; None: there were none.
    """

    rows: Written | None
    gold: Gold | None


def label_rows(
    config: RunConfig,
    data: object,
    output: str | Path,
    *,
    gold: object = None,
    min_accuracy: float | None = None,
    split: str = "train",
    limit: int | None = None,
    retry_rejected: bool = False,
    device: str | None = None,
    teacher: Teacher | None = None,
) -> LabelledRows:
    """Ask a teacher for the label of each row, `teacher.votes` times.

    Args:
        config: Settings; `teacher` names the teacher, the labels and its limits, `data` says how rows are read.
        data: Rows, or a source as for `data.train`, all without labels; None: only the gold rows.
        output: A .jsonl file; the store of answers and the manifest are written beside it.
        gold: Rows with labels, which are asked first; the teacher's accuracy on them is logged.
        min_accuracy: Ask no other rows if the accuracy on the gold rows is lower.
        split: The split of `superglue:` and `hub:` data.
        limit: Use only the first N rows.
        retry_rejected: Ask rows without a readable vote again.
        device: For `local:`: "cpu", "cuda" or "mps"; None: the best available.
        teacher: A teacher to ask instead of the one named by `teacher.name`.

    Returns:
        The counts. `output` has an object a row with a readable vote, in the rows' order: the row's columns, the share
        of the votes for each label as its label, `agreement` (the share of the first), `votes` (how many could be
        read), and the rationale of a vote for it.

    Raises:
        UserError: A setting, a row, the template, the teacher or the store cannot be used. If the teacher stopped the
            run, the answers so far are in `output` nevertheless.
        SaveError: The disk is full; all earlier answers are kept.
    """
    plan = _Plan.of(config, data, gold, Path(output), split, limit)
    with open_store(plan.output) as store:
        asking = Asking(
            questions=plan.either,
            purpose=plan.purpose,
            store=store,
            teacher=cache(lambda: teacher or ready_teacher(plan.either.settings, device)),
            retry_rejected=retry_rejected,
        )
        if plan.rows is not None and not sum(1 for _ in plan.rows):  # raised before gold rows are paid for
            raise DataError(f"{plan.rows.source.name}: no rows")
        measured = _ask_gold(replace(asking, questions=plan.gold)) if plan.gold is not None else None
        if plan.rows is None or (measured is not None and measured.is_below(min_accuracy)):
            return LabelledRows(None, measured)
        told = {"meanings": plan.rows.meanings} | ({"gold": measured.record()} if measured is not None else {})
        return LabelledRows(replace(asking, questions=plan.rows).write(plan.output, told), measured)


def survey_labels(
    config: RunConfig,
    data: object,
    output: str | Path,
    *,
    gold: object = None,
    split: str = "train",
    limit: int | None = None,
) -> tuple[Survey | None, Survey | None]:
    """What `label_rows` would ask of the rows, and of the gold rows; no request is sent and no file written.

    Arguments and errors are the same; answers in a store beside `output` are not asked for again.
    """
    plan = _Plan.of(config, data, gold, Path(output), split, limit)
    manifest = beside(plan.output, "manifest.json")
    with looked_at(plan.output) as store:  # the gold rows first: what they ask is not unused
        first = survey(plan.gold, plan.purpose, store) if plan.gold is not None else None
        return (survey(plan.rows, plan.purpose, store, manifest) if plan.rows is not None else None), first


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Several votes per row, which become its label.

    Args:
        labels: The label set.
        num_wanted: Number of votes.
        columns: Our field -> the row's column.
    """

    labels: LabelSet
    num_wanted: int
    columns: Mapping[str, str]
    what = "labelled rows"
    written_as = "labelled"

    @property
    def num_samples(self) -> int:
        """The same number: a vote that stays unreadable is left out."""
        return self.num_wanted

    def judge(self, answer: Answer, question: Question) -> Rationale | Rejection:
        """Whether an answer holds a vote."""
        return judge_vote(answer, question, self.labels)

    def line(self, question: Question, accepted: Sequence[Rationale]) -> dict[str, object]:
        """The row with its label, as `data.train` reads it."""
        shares = vote_shares(accepted, len(self.labels))
        winners = [index for index, share in enumerate(shares) if share == max(shares)]
        # Of labels alike training takes the first of its own order, which need not be ours
        told = (vote.text for vote in accepted if [*(vote.label or ())] == winners and vote.text)
        row = dict(question.columns)
        if is_blank(row.get(self.columns.get("id", "id"))):
            row[self.columns.get("id", "id")] = question.id
        row[self.columns.get("label", "label")] = dict(zip(self.labels.names, shares, strict=True))
        row |= {"agreement": max(shares), "votes": len(accepted)}
        if (rationale := next(told, None)) is not None:
            row[self.columns.get("rationale", "rationale")] = rationale
        return row

    def notes(self, accepted: Sequence[Rationale]) -> Mapping[str, int]:
        """Votes, those that could not be read, and whether all are for one label."""
        return {
            "votes": len(accepted),
            "unreadable_votes": self.num_wanted - len(accepted) if accepted else 0,
            "unanimous": int(len({vote.label for vote in accepted}) == 1),
        }


def _ask_gold(asking: Asking) -> Gold:
    """Ask the rows whose labels are known, and report the teacher's accuracy."""
    plan = survey(asking.questions, asking.purpose, asking.store)
    gold, stopped = asking.ask(plan, lambda session: read_gold(asking.questions, session))
    for line in gold.lines():
        logger.info(line)
    if stopped is not None:
        raise stopped
    return gold


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run asks of which rows: those to label, those whose labels are known; and where it writes."""

    rows: Questions | None
    gold: Questions | None
    either: Questions
    output: Path

    @classmethod
    def of(cls, config: RunConfig, data: object, gold: object, output: Path, split: str, limit: int | None) -> _Plan:
        """Check all that can be checked before rows are read."""
        if data is None and gold is None:
            raise ConfigError("no rows given; use `data=FILE`, or only `gold=FILE` to measure the teacher")
        settings = _settings(config)
        untrained = config.data.model_copy(update={"train": None})  # training reads what is written here
        read = inputs_of(config.model_copy(update={"data": untrained}), data, gold, settings.labels)
        check_output(output, read, Labelling.what)
        rows, known = (_open(given, config, split) for given in (data, gold))
        source = rows or known
        assert source is not None
        labels, meanings = labels_to_choose(config, source.labels)
        either = Questions(
            source=source,
            labels=labels,
            template=load_template(settings, asks_label=True),
            settings=settings,
            data=config.data,
            meanings=meanings,
        )
        ours = replace(either, labels_required=False, limit=limit)
        return cls(
            rows=replace(ours, source=_without_labels(rows, config)) if rows is not None else None,
            gold=replace(either, source=known) if known is not None else None,
            either=either,
            output=output,
        )

    @property
    def purpose(self) -> Labelling:
        """The purpose of asking, the same for all its rows."""
        asked = self.either
        return Labelling(labels=asked.labels, num_wanted=asked.settings.votes, columns=asked.data.columns)


def _settings(config: RunConfig) -> TeacherSettings:
    settings = asked_settings(config)
    if settings.votes > 1 and (settings.is_greedy or settings.temperature == 0):
        raise ConfigError(
            f"all {settings.votes} votes would be the same; give `teacher.temperature` above 0, or `teacher.votes=1`"
        )
    return settings


def _open(rows: object, config: RunConfig, split: str) -> Source | None:
    if rows is None:
        return None
    return open_source(list(rows) if isinstance(rows, Iterator) else rows, config.data, split=split)


def _without_labels(source: Source, config: RunConfig) -> Source:
    """The rows; one that has a value in a column to be written is a bad row."""
    columns = config.data.columns
    ours = (columns.get("label", "label"), columns.get("rationale", "rationale"), "agreement", "votes")

    def read() -> Iterator[Row | BadRow]:
        for row in source.read():
            taken = next((name for name in ours if _has_value(row, name)), None)
            if taken is None or isinstance(row, BadRow):
                yield row
                continue
            given = f"{taken}: already has {shown(row.columns[taken])}, but the output uses this column"
            yield BadRow(row.where, f"{given}; remove or rename it (rows with labels are for `gold`)")

    return replace(source, read=read)


def _has_value(row: Row | BadRow, name: str) -> bool:
    return isinstance(row, Row) and plain(row.columns.get(name)) not in (None, "")
