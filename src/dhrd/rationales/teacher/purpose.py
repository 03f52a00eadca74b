"""What a teacher is asked for: how an answer is read, how many of them a row needs, and what the row becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dhrd.config import TeacherSettings
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection
from dhrd.rationales.teacher.prompt import Question


class Purpose(Protocol):
    """What the answers to a question are for."""

    @property
    def what(self) -> str:
        """What is written, for messages."""
        ...

    @property
    def written_as(self) -> str:
        """The manifest's name for the number of rows that are in the output."""
        ...

    @property
    def num_wanted(self) -> int:
        """Accepted answers with which a row is settled."""
        ...

    @property
    def num_samples(self) -> int:
        """Times that it is asked, each in up to `attempts` attempts, before it is settled whatever came."""
        ...

    def judge(self, answer: Answer, question: Question) -> Rationale | Rejection:
        """Whether an answer is accepted."""
        ...

    def line(self, question: Question, accepted: Sequence[Rationale]) -> dict[str, object]:
        """The line of the output."""
        ...

    def notes(self, accepted: Sequence[Rationale]) -> Mapping[str, int]:
        """What is counted of a row's accepted answers, by the manifest's names; of none, all names."""
        ...


def standing(
    answers: Sequence[Answer], question: Question, purpose: Purpose, settings: TeacherSettings
) -> tuple[Rationale, ...] | Rejection | None:
    """What all answers to a question come to.

    Args:
        answers: In the order in which they came.
        question: What was asked.
        purpose: Which answers are wanted, and how many.
        settings: `attempts` at each sample; an answer cut at less than today's `max_tokens` is no attempt.

    Returns:
        The first accepted answers, as many as are wanted; or, where all samples are used up or the endpoint refuses
        the row, those that there are, or if none the last rejection; or None: ask (again). A rejected row that is
        asked again has all its samples again, and is rejected until one of them is accepted.
    """
    accepted: list[Rationale] = []
    attempts = samples = 0
    last: Rejection | None = None
    refused = was_rejected = False
    for answer in answers:
        if not accepted and (refused or samples >= purpose.num_samples):
            # Asked again after its rejection, which holds meanwhile: the settings may just have asked more before.
            was_rejected, samples, attempts = not refused, 0, 0
        verdict = purpose.judge(answer, question)
        refused = isinstance(verdict, Rejection) and verdict.reason == "failed"
        if isinstance(verdict, Rationale):
            accepted.append(verdict)
            if len(accepted) == purpose.num_wanted:
                return tuple(accepted)
            samples, attempts = samples + 1, 0
            continue
        if verdict.reason == "cut" and answer.max_tokens < settings.max_tokens:
            continue
        last = verdict
        attempts += 1
        if not verdict.again or attempts >= settings.attempts:
            samples, attempts = samples + 1, 0
    is_over = refused or samples >= purpose.num_samples or (was_rejected and not accepted)
    return (tuple(accepted) or last) if is_over else None
