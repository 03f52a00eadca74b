"""Asking a teacher about rows: survey them → ask what is open → write the output, then the manifest.

Everything paid for is in the store (`teacher/store.py`) before it counts; output and manifest are rebuilt from it,
so a run killed at any moment is resumed by running the same command again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar

from dhrd._outputs import Output, check_outputs
from dhrd._progress import bar
from dhrd.config import RunConfig, TeacherSettings
from dhrd.errors import ConfigError, TeacherError
from dhrd.rationales.output import Written, beside, write_manifest, write_output
from dhrd.rationales.survey import Survey, survey
from dhrd.rationales.teacher.prompt import Questions
from dhrd.rationales.teacher.purpose import Purpose
from dhrd.rationales.teacher.session import Session, Teacher
from dhrd.rationales.teacher.store import Store
from dhrd.rationales.teacher.tally import Tally

logger = logging.getLogger("dhrd")


class SoFar(Protocol):
    """The result of questions so far."""

    @property
    def num_open(self) -> int:
        """Rows that have no answer yet."""
        ...


SoFarT = TypeVar("SoFarT", bound=SoFar)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Rows, what is asked about them, and who is asked.

    Args:
        questions: The rows.
        purpose: Which answers to accept, and what a row becomes.
        store: Where answers are kept.
        teacher: Creates the teacher, if there is something to ask.
        retry_rejected: Ask rows again that were rejected before.
        tally: The counts of this process.
    """

    questions: Questions
    purpose: Purpose
    store: Store
    teacher: Callable[[], Teacher]
    retry_rejected: bool = False
    tally: Tally = field(default_factory=Tally)

    def write(self, output: Path, told: Mapping[str, object] | None = None) -> Written:
        """Ask about all rows and write the result, even if the teacher stops the run.

        Args:
            output: The file; the manifest is written beside it.
            told: Further entries of the manifest.

        Raises:
            UserError: A row or the template cannot be used.
            TeacherError: The teacher stopped the run; the answers so far are in `output` nevertheless.
            SaveError: The disk is full; all earlier answers are kept.
        """
        plan = survey(self.questions, self.purpose, self.store, beside(output, "manifest.json"))
        if plan.warning:
            logger.warning(plan.warning)

        def end(session: Session) -> Written:
            written = write_output(output, self.questions, session)
            write_manifest(output, written, self.questions, session, told or {})
            return written

        written, stopped = self.ask(plan, end)
        if stopped is not None:
            so_far = f"{written.num_written:,} {self.purpose.what} so far are in {output}"
            raise TeacherError(f"{stopped}; {so_far}") from stopped
        return written

    def ask(self, plan: Survey, end: Callable[[Session], SoFarT]) -> tuple[SoFarT, TeacherError | None]:
        """Ask the open questions.

        Args:
            plan: The survey of the rows.
            end: Returns the result so far; called whenever the teacher is done.

        Returns:
            The last result, and the error that the teacher stopped the run with.
        """
        self.tally.prompt_tokens, self.tally.completion_tokens = (
            plan.before.prompt_tokens,
            plan.before.completion_tokens,
        )
        session = Session(
            settings=self.questions.settings,
            purpose=self.purpose,
            store=self.store,
            tally=self.tally,
            estimate=plan.estimate,
            is_known=plan.num_open < plan.num_rows,
            retry_after=self.store.last_number() if self.retry_rejected else None,
        )
        teacher = self.teacher() if plan.num_open or self.retry_rejected else None
        outcome: SoFarT | None = None
        all_asked, stopped = teacher is not None, None
        # A row equal to one in flight waits for a second round.
        while outcome is None or (outcome.num_open and all_asked):
            num_unanswered = self.tally.num_unanswered
            try:
                if teacher is not None:
                    with _progress(session, plan.num_rows) as watched:
                        all_asked = teacher.ask(watched.open(self.questions), watched)
                    all_asked = all_asked and self.tally.num_unanswered == num_unanswered
            except TeacherError as error:
                if not self.store.totals().num_answers:  # there is nothing to write
                    raise
                all_asked, stopped = False, error
            outcome = end(session)
        return outcome, stopped


def ready_teacher(settings: TeacherSettings, device: str | None) -> Teacher:
    """The teacher that the settings name, ready to be asked; `device` is for those that run in this process."""
    kind: type[Teacher] = import_module(f"dhrd.rationales.teacher.{settings.kind}").TEACHER
    return kind.from_settings(settings, device)


def asked_settings(config: RunConfig) -> TeacherSettings:
    """The settings used to ask a teacher.

    Raises:
        ConfigError: They name no teacher, or several tasks.
    """
    settings = config.teacher
    if config.tasks:
        raise ConfigError(
            "a teacher is asked about one task at a time: leave out `tasks` (`tasks=null`), and give the column of its "
            "labels as `data.columns.label`"
        )
    if settings.name is None:
        raise ConfigError("no teacher given; use `teacher.name=openai:MODEL` or `teacher.name=local:MODEL_OR_PATH`")
    if settings.is_greedy or settings.kind == "self":  # greedy tokens are the same each time, `self` samples again
        return settings.model_copy(update={"attempts": 1})
    return settings


def open_store(output: Path) -> Store:
    """The store beside an output, created if missing."""
    return Store(beside(output, "answers.sqlite"))


@contextmanager
def looked_at(output: Path) -> Iterator[Store]:
    """The store beside an output, or an empty one in memory if there is none."""
    path = beside(output, "answers.sqlite")
    with Store(path if path.is_file() else Path(":memory:")) as store:
        yield store


def check_output(output: Path, inputs: Iterable[str | Path], what: str) -> Path:
    """Refuse an output that cannot be written, or was not written by this command.

    Args:
        output: The file.
        inputs: All files that are read.
        what: What it will contain, for messages.

    Raises:
        ConfigError: It was not written by this command, is an input or not .jsonl, or its directory does not exist.
    """
    if output.suffix != ".jsonl":
        raise ConfigError(f"`output` {output}: {what} are JSON lines; give a name that ends in .jsonl")
    if not output.parent.is_dir():
        raise ConfigError(f"`output` {output}: the directory {output.parent} does not exist; create it first")
    store, manifest = beside(output, "answers.sqlite"), beside(output, "manifest.json")
    check_outputs([Output("`output`", path) for path in (output, store, manifest)], inputs)
    for path in (output, manifest):
        if path.exists() and not store.is_file():
            raise ConfigError(
                f"`output` {output}: {path.name} exists without a {store.name} beside it, so this command did not "
                "write it; move it away, or give another name"
            )
    return output


@contextmanager
def _progress(session: Session, num_rows: int) -> Iterator[Session]:
    """The session, with a progress bar for its questions."""
    with bar() as progress:
        task = progress.add_task("asking", total=num_rows, note="")
        yield replace(session, on_progress=lambda note: progress.update(task, advance=1, note=note))
