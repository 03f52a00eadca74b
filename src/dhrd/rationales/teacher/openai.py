"""A teacher behind an OpenAI-compatible endpoint: many requests in flight, within the user's limits.

`OpenAITeacher.ask` is the loop, `endpoint.Endpoint` asks one question, `ledger.Ledger` stores what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Self

from dhrd.config import TeacherSettings
from dhrd.errors import TeacherError
from dhrd.rationales.teacher.endpoint import Endpoint
from dhrd.rationales.teacher.failures import NoAnswer, RowRefused
from dhrd.rationales.teacher.ledger import Ledger
from dhrd.rationales.teacher.session import Asked, Session, Teacher
from dhrd.rationales.teacher.tally import Budget, BudgetSpent, cost

_MISSED_IN_A_ROW = 8  # or all places in flight, if more: then the endpoint is at fault, not the requests


class OpenAITeacher:
    """Any OpenAI-compatible endpoint."""

    @classmethod
    def from_settings(cls, settings: TeacherSettings, device: str | None) -> Self:
        """Nothing is opened before there is a question."""
        return cls()

    def ask(self, questions: Iterator[Asked], session: Session) -> bool:
        """Put questions to an endpoint and store each answer as it comes; False where `max_cost` stopped it.

        Questions are read as places in flight become free.

        Raises:
            TeacherError: The endpoint takes no request: its key, model or address is wrong, or it is down; or each
                answer was cut. What was in flight then was waited for, and stored.
            SaveError: An answer could not be stored; all before are.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(_ask(questions, session))
        return _run_aside(_ask(questions, session))


TEACHER: type[Teacher] = OpenAITeacher


def _run_aside(asking: Coroutine[None, None, bool]) -> bool:
    """Run in a thread of its own, where a loop runs in this one already: in a notebook. Ctrl-C here ends it there."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[bool]]] = Future()

    async def work() -> bool:
        task = asyncio.create_task(asking)
        started.set_result((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(asyncio.run, work())
        try:
            while not wait([result], timeout=0.2).done:  # without a timeout, Windows lets no Ctrl-C through
                pass
        except KeyboardInterrupt:
            loop, task = started.result()
            with suppress(RuntimeError):  # it had just ended
                loop.call_soon_threadsafe(task.cancel)
            raise  # once the thread is done, so what it is storing is stored
        return result.result()


async def _ask(questions: Iterator[Asked], session: Session) -> bool:
    places = _Places(questions, session)
    try:
        async with asyncio.TaskGroup() as group:
            places.tasks = [group.create_task(places.work()) for _ in range(session.settings.concurrency)]
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    finally:
        await places.endpoint.close()
    if places.error is None:
        await places.ledger.close(places.endpoint.host)
        return not session.tally.is_spent
    raise places.error


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class _Places:
    """The places in flight: all draw from one iterator, and ask a question until it is settled."""

    def __init__(self, questions: Iterator[Asked], session: Session) -> None:
        settings = session.settings
        self._questions = questions
        self._session = session
        self._budget = Budget(settings.max_cost, session.cost() or 0.0)
        self.endpoint = Endpoint(settings, session.tally, session.estimate, self._lose)
        most_missed = max(_MISSED_IN_A_ROW, settings.concurrency)
        self.ledger = Ledger(session.store, session.tally, most_missed, is_known=session.is_known)
        self._in_flight: set[str] = set()
        self.tasks: list[asyncio.Task[None]] = []
        self.error: TeacherError | None = None

    async def work(self) -> None:
        """One place."""
        try:
            for asked in self._questions:
                key = asked.question.key
                if self.error is not None or self._session.tally.is_spent:
                    return
                if key in self._in_flight:  # the same row twice: the answer to the one will serve both
                    continue
                self._in_flight.add(key)
                await self._settle(asked)
                self._in_flight.remove(key)
                self._session.advance()
        except BudgetSpent:
            self._session.tally.is_spent = True
        except TeacherError as error:
            self._stop(error)

    def _stop(self, error: TeacherError) -> None:
        """Send nothing more; what is under way is paid for, so it is waited for."""
        self.error = self.error or error
        self.endpoint.stopped = True
        for task in self.tasks:
            if task is not asyncio.current_task() and task not in self.endpoint.busy:
                task.cancel()

    async def _settle(self, asked: Asked) -> None:
        """Ask until the answers settle the row, or none comes."""
        session, question = self._session, asked.question
        while self.error is None and not session.is_settled(asked):
            try:
                await self._ask_once(asked)
            except RowRefused as refused:
                record = self.endpoint.record(question.prompt, failure=str(refused))
                return await self.ledger.refuse(question.key, record, surely=refused.surely)
            except NoAnswer as failure:
                return self.ledger.miss(self.endpoint.host, str(failure))

    async def _ask_once(self, asked: Asked) -> None:
        """One answer, stored before it is judged."""
        question, answer = asked.question, None
        most = self._most_cost(question.prompt)
        await self._budget.reserve(most)
        try:
            answer = await self.endpoint.answer(question.prompt, asked.attempt)
            await self.ledger.keep(question.key, answer)
        finally:
            self.endpoint.busy.discard(asyncio.current_task())
            paid = (answer.prompt_tokens, answer.completion_tokens) if answer else (0, 0)
            await self._budget.settle(most, self._cost(*paid))
        asked.answers.append(answer)
        self._session.check_limit(asked)

    def _cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        return cost(self._session.settings, prompt_tokens, completion_tokens) or 0.0

    def _most_cost(self, prompt: str) -> float:
        session = self._session
        longest = max(session.settings.max_tokens, session.tally.longest_answer)
        return self._cost(session.estimate.prompt_tokens(prompt), longest)

    def _lose(self, prompt: str) -> None:
        """A request may be billed though no answer came."""
        self._session.tally.lose(self._session.estimate.prompt_tokens(prompt), self._session.settings.max_tokens)
        self._budget.lose(self._most_cost(prompt))
