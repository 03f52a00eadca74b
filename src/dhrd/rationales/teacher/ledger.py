"""Storing what an endpoint said, and telling a row that it refuses from an endpoint that is at fault."""

from __future__ import annotations

import asyncio
import re

from dhrd.errors import TeacherError
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.store import Store
from dhrd.rationales.teacher.tally import Tally

_REFUSALS_ALIKE = 1000  # a refusal costs nothing; so many alike, and nothing else, are no matter of rows


class Ledger:
    """Stores answers: those that come while the disk is busy go there together.

    A refusal that does not say that the row is why is held back until something else shows that rows differ: an answer,
    or another refusal. A setting that is wrong must not reject every row.

    Args:
        store: Where answers go.
        tally: Counts answers and questions without one.
        most_missed: So many questions in a row without an answer mean that the endpoint is down.
        is_known: Whether the endpoint answered under these settings before, so that every refusal is about its row.
    """

    def __init__(self, store: Store, tally: Tally, most_missed: int, *, is_known: bool = False) -> None:
        self._store = store
        self._tally = tally
        self._most_missed = most_missed
        self._takes_rows = is_known
        self._num_missed = 0
        self._waiting: list[tuple[str, Answer]] = []
        self._held: list[tuple[str, Answer]] = []
        self._disk = asyncio.Lock()

    async def keep(self, key: str, answer: Answer) -> None:
        """Return when an answer is on the disk."""
        self._tally.add(answer)
        self._takes_rows, self._num_missed = True, 0
        await self._write((key, answer))

    async def refuse(self, key: str, answer: Answer, *, surely: bool) -> None:
        """Store that a row was refused, or hold it back.

        Raises:
            TeacherError: So many were refused alike that no row is why.
        """
        self._num_missed = 0
        held = {_gist(other) for _, other in self._held}
        self._takes_rows = self._takes_rows or surely or bool(held - {_gist(answer)})
        if self._takes_rows:
            return await self._write((key, answer))
        self._held.append((key, answer))
        if len(self._held) >= _REFUSALS_ALIKE:
            raise self._all_refused()

    def miss(self, host: str, failure: str) -> None:
        """Count a question that got no answer; the next run asks it again.

        Raises:
            TeacherError: So many came in a row that the endpoint must be at fault.
        """
        self._num_missed += 1
        self._tally.num_unanswered += 1
        self._tally.last_failure = failure
        if self._num_missed >= self._most_missed:
            raise self._down(host)

    async def close(self, host: str) -> None:
        """End a run.

        Raises:
            TeacherError: Every row was refused alike, or none was answered.
        """
        if self._held and not self._takes_rows:
            raise self._all_refused()
        if self._num_missed and not (self._tally.num_answers or self._takes_rows):
            raise self._down(host)

    async def _write(self, record: tuple[str, Answer]) -> None:
        self._waiting += [*self._held, record]
        self._held = []
        async with self._disk:
            batch, self._waiting = self._waiting, []
            if batch:  # else the one who wrote before took ours along
                await asyncio.to_thread(self._store.append, batch)

    def _all_refused(self) -> TeacherError:
        _, last = self._held[-1]
        return TeacherError(
            f"{last.host} answered none of the last {len(self._held)} questions ({last.failure}): it refuses all "
            "alike, so no row is rejected; fix the cause, then run the same command again"
        )

    def _down(self, host: str) -> TeacherError:
        return TeacherError(
            f"{host} answered none of the last {self._num_missed} questions ({self._tally.last_failure}); earlier "
            "answers are kept: fix the cause, then run the same command again"
        )


def _gist(answer: Answer) -> str:
    """A refusal without its numbers, which tell of the row."""
    return re.sub(r"\d+|…", "", answer.failure or "")
