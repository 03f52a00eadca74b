"""Rationales from a teacher: the question of each row, and the line that its answer becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dhrd.artifact.info import read_info
from dhrd.artifact.owned import inputs_of
from dhrd.config import RunConfig, TeacherSettings
from dhrd.data.rationales import DIGEST
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import label_set
from dhrd.data.source import Source
from dhrd.data.sources import open_source
from dhrd.rationales.asking import Asking, asked_settings, check_output, looked_at, open_store, ready_teacher
from dhrd.rationales.output import Written, beside
from dhrd.rationales.survey import Survey, survey
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection, judge
from dhrd.rationales.teacher.prompt import OWN_PROMPT, Question, Questions, load_template
from dhrd.rationales.teacher.session import Teacher

if TYPE_CHECKING:
    from dhrd.model.backbone import Backbone


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
) -> Written:
    """Ask a teacher for a rationale for each row (paper, experimental setup).

    Args:
        config: Settings; `teacher` names the teacher and its limits, `data` says how rows are read.
        data: Rows, or a source as for `data.train`.
        output: A .jsonl file; the store of answers and the manifest are written beside it.
        split: The split of `superglue:` and `hub:` data.
        limit: Use only the first N rows.
        retry_rejected: Ask previously rejected rows again.
        device: For `local:`: "cpu", "cuda" or "mps"; None: the best available.
        teacher: A loaded model to use instead of the one named by `local:`.

    Returns:
        The counts. `output` has one object per row with a rationale, in the rows' order: `id`, `rationale`, `teacher`,
        `input_digest`.

    Raises:
        UserError: A setting, a row, the template, the teacher or the store cannot be used. If the teacher stopped the
            run, the answers so far are in `output` nevertheless.
        SaveError: The disk is full; all earlier answers are kept.
    """
    output = _checked(output, data, config)
    questions = _questions(config, data, split, limit)

    def ready() -> Teacher:
        if teacher is not None and questions.settings.kind == "local":
            from dhrd.rationales.teacher.local import LocalTeacher  # loads torch

            return LocalTeacher(teacher)
        return ready_teacher(questions.settings, device)

    with open_store(output) as store:
        purpose = Explaining(questions.settings, questions.labels)
        asking = Asking(questions=questions, purpose=purpose, store=store, teacher=ready, retry_rejected=retry_rejected)
        return asking.write(output)


def survey_rationales(
    config: RunConfig, data: object, output: str | Path, *, split: str = "train", limit: int | None = None
) -> Survey:
    """What `generate_rationales` would ask and what that may cost; no request is sent and no file written.

    Arguments and errors are the same; answers in a store beside `output` are not asked for again.
    """
    output = _checked(output, data, config)
    with looked_at(output) as store:
        questions = _questions(config, data, split, limit)
        purpose = Explaining(questions.settings, questions.labels)
        return survey(questions, purpose, store, beside(output, "manifest.json"))


@dataclass(frozen=True, slots=True)
class Explaining:
    """One explanation per row, which becomes its rationale."""

    settings: TeacherSettings
    labels: LabelSet
    what = "rationales"
    written_as = "with_rationale"
    num_wanted = 1

    @property
    def num_samples(self) -> int:
        """The number in the settings; a model that is its own teacher is asked once more, given the label."""
        return self.settings.samples + self._is_own

    def judge(self, answer: Answer, question: Question) -> Rationale | Rejection:
        """Whether an answer holds a rationale."""
        return judge(answer, question, self.labels, label_hidden=self.settings.label_hidden or self._is_own)

    def line(self, question: Question, accepted: Sequence[Rationale]) -> dict[str, object]:
        """A line that `data.rationales` reads."""
        written = {"rationale": accepted[0].text, "teacher": self.settings.name, DIGEST: question.digest}
        told = {"label_given": True} if self._is_own and not accepted[0].agrees else {}
        return {"id": question.id, **written, **told}

    def notes(self, accepted: Sequence[Rationale]) -> Mapping[str, int]:
        """Count rationales whose answer is another label although the label was given; for a model that is its own
        teacher, those written after the label was given."""
        name = "label_given" if self._is_own else "naming_another_label"
        return {name: sum(not rationale.agrees for rationale in accepted)}

    @property
    def _is_own(self) -> bool:
        return self.settings.kind == "self"


def _checked(output: str | Path, data: object, config: RunConfig) -> Path:
    return check_output(Path(output), inputs_of(config, data), Explaining.what)


def _questions(config: RunConfig, data: object, split: str, limit: int | None) -> Questions:
    settings = asked_settings(config)
    source = open_source(list(data) if isinstance(data, Iterator) else data, config.data, split=split)
    return Questions(
        source=source,
        labels=_labels(config, source, settings),
        template=OWN_PROMPT if settings.kind == "self" else load_template(settings),
        settings=settings,
        data=config.data,
        limit=limit,
    )


def _labels(config: RunConfig, source: Source, settings: TeacherSettings) -> LabelSet:
    """The label set, found over all rows whatever the limit: prompts name it, so it must not depend on that.

    Of a model that is its own teacher it is the model's: it is told a label as one of those that it was trained on.
    """
    if settings.kind == "self":
        return read_info(Path(settings.model).expanduser()).labels
    if config.data.labels is None and source.labels is not None:
        return label_set(config, source, [])
    return label_set(config, source, [Example(label=row.label, where=row.where) for row in source.examples()])
