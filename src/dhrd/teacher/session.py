"""What a run of questions shares, whoever answers: settings, store, counts, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dhrd.config import TeacherSettings
from dhrd.data.records import LabelSet
from dhrd.teacher.answers import Rationale, Rejection, standing
from dhrd.teacher.prompt import Question
from dhrd.teacher.store import Store
from dhrd.teacher.tally import Estimate, Tally, cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A run of questions.

    Args:
        settings: Of the teacher.
        labels: The label set, to read the teacher's answers by.
        store: Where answers are kept.
        tally: The counts.
        estimate: Tokens of what is yet to be asked.
        retry_after: Ask rejected rows again, unless they were since this answer's number; None: they stay rejected.
        on_progress: Told of each settled question, with a note for the progress bar.
    """

    settings: TeacherSettings
    labels: LabelSet
    store: Store
    tally: Tally = field(default_factory=Tally)
    estimate: Estimate = field(default_factory=Estimate)
    retry_after: int | None = None
    on_progress: Callable[[str], None] = lambda note: None

    def standing(self, question: Question) -> Rationale | Rejection | None:
        """What the answers to a question come to; None: it is to be asked."""
        return standing(self.store.answers(question.key), question, self.labels, self.settings)

    def attempt(self, question: Question) -> int | None:
        """How many answers a question has that is to be asked (again); None where it is settled."""
        answers = self.store.answers(question.key)
        found = standing(answers, question, self.labels, self.settings)
        if isinstance(found, Rejection) and self.retry_after is not None:
            since = self.store.answers(question.key, after=self.retry_after)
            found = standing(since, question, self.labels, self.settings)
        return len(answers) if found is None else None

    def open(self, questions: Iterable[Question]) -> Iterator[Question]:
        """Those that are to be asked; the others count as progress at once."""
        for question in questions:
            if self.attempt(question) is not None:
                yield question
            else:
                self.advance()

    def cost(self) -> float | None:
        """Of all answers in the store; None where no price is set."""
        return cost(self.settings, self.tally.prompt_tokens, self.tally.completion_tokens)

    def advance(self) -> None:
        """A question is settled."""
        self.on_progress(self.tally.note(self.cost()))
