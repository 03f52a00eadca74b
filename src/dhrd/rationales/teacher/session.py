"""What a run of questions shares, whoever answers: settings, store, counts, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, Self

from dhrd.config import TeacherSettings
from dhrd.errors import TeacherError
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection
from dhrd.rationales.teacher.prompt import Question
from dhrd.rationales.teacher.purpose import Purpose, standing
from dhrd.rationales.teacher.store import Store
from dhrd.rationales.teacher.tally import Estimate, Tally, cost

_ALL_CUT = 8  # answers: where every one of the first is cut, so will be those after them


@dataclass(slots=True)
class Asked:
    """A question that is being asked.

    Args:
        question: What is asked.
        answers: Those that count; a new one is appended as it comes.
        num_discarded: Older ones, of a rejected row that is asked again.
    """

    question: Question
    answers: list[Answer]
    num_discarded: int = 0

    @property
    def attempt(self) -> int:
        """The number of answers ever received, which changes the sampling seed."""
        return self.num_discarded + len(self.answers)


class Teacher(Protocol):
    """Who answers questions."""

    @classmethod
    def from_settings(cls, settings: TeacherSettings, device: str | None) -> Self:
        """Get ready to be asked; `device` is for those that run in this process."""
        ...

    def ask(self, questions: Iterator[Asked], session: Session) -> bool:
        """Answer questions, and store each answer before it counts.

        Args:
            questions: Those to be asked.
            session: The settings, the store and the counts.

        Returns:
            Whether all were asked.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A run of questions.

    Args:
        settings: The teacher's settings.
        purpose: Which answers to accept.
        store: Where answers are kept.
        tally: The counts.
        estimate: Estimates the tokens of open questions.
        is_known: Whether this teacher settled rows of this data under these settings before.
        retry_after: Ask rejected rows again, unless they were since this answer's number; None: they stay rejected.
        on_progress: Called for each settled question, with a note for the progress bar.
    """

    settings: TeacherSettings
    purpose: Purpose
    store: Store
    tally: Tally = field(default_factory=Tally)
    estimate: Estimate = field(default_factory=Estimate)
    is_known: bool = False
    retry_after: int | None = None
    on_progress: Callable[[str], None] = lambda note: None

    def standing(self, question: Question) -> tuple[Rationale, ...] | Rejection | None:
        """What the answers to a question come to; None: it is to be asked."""
        return self._standing(Asked(question, self.store.answers(question.key)))

    def take(self, question: Question) -> Asked | None:
        """A question that is to be asked (again), with its answers so far; None where it is settled."""
        asked = Asked(question, self.store.answers(question.key))
        if self.retry_after is not None and isinstance(self._standing(asked), Rejection):
            since = self.store.answers(question.key, after=self.retry_after)
            asked = Asked(question, since, num_discarded=len(asked.answers) - len(since))
        return None if self.is_settled(asked) else asked

    def is_settled(self, asked: Asked) -> bool:
        """Whether the answers come to what is wanted, or to a rejection."""
        return self._standing(asked) is not None

    def _standing(self, asked: Asked) -> tuple[Rationale, ...] | Rejection | None:
        return standing(asked.answers, asked.question, self.purpose, self.settings)

    def num_missing(self, asked: Asked) -> int:
        """Answers that are still to come, where all of them are accepted."""
        return max(1, self.purpose.num_wanted - len(asked.answers))

    def check_limit(self, asked: Asked) -> None:
        """Look at the newest answer: whether it was cut, as all before were.

        Raises:
            TeacherError: Every one of the first answers of this run was cut.
        """
        if self.tally.num_cut < self.tally.num_judged:  # one was whole
            return
        last = self.purpose.judge(asked.answers[-1], asked.question)
        is_cut = isinstance(last, Rejection) and last.reason == "cut"
        self.tally.num_judged += 1
        self.tally.num_cut += is_cut
        self.tally.num_out_of_room += is_cut and asked.answers[-1].is_out_of_room
        if self.tally.num_cut == self.tally.num_judged >= _ALL_CUT:
            raise TeacherError(f"each of the first {self.tally.num_cut} answers was cut {self._where_cut()}")

    def _where_cut(self) -> str:
        if self.tally.num_out_of_room == self.tally.num_cut:  # a higher `max_tokens` would mend none
            return (
                "where the artifact's sequences end, so the run stopped; train it with a larger "
                "`data.max_sequence_tokens`, or a smaller `data.max_input_tokens`"
            )
        return (
            f"at max_tokens {self.settings.max_tokens}, so the run stopped; raise `teacher.max_tokens` (thinking "
            "counts: 4000 or more) and run the command again"
        )

    def open(self, questions: Iterable[Question]) -> Iterator[Asked]:
        """Those that are to be asked; the others count as progress at once."""
        for question in questions:
            if (asked := self.take(question)) is not None:
                yield asked
            else:
                self.advance()

    def cost(self) -> float | None:
        """Cost of all answers in the store; None if no price is set."""
        return cost(self.settings, self.tally.prompt_tokens, self.tally.completion_tokens)

    def advance(self) -> None:
        """A question is settled."""
        self.on_progress(self.tally.note(self.cost()))
