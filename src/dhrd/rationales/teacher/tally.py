"""Counting what a run sends, gets and pays, and keeping it within its limits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from dhrd.config import TeacherSettings
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.store import Totals

_BYTES_PER_TOKEN = 4.0
_TOKENS_PER_ANSWER = 120.0  # two to four sentences and the answer
_ENOUGH_ANSWERS = 10


@dataclass(kw_only=True)
class Tally:
    """What a run has done so far.

    Args:
        num_requests: Requests sent, all of them: each ended as an answer or as a failure below.
        num_answers: Answers that came.
        failures: Requests without an answer, by kind: "429", "timeout" and so on.
        prompt_tokens: Prompt tokens of all answers in the store, including those of earlier runs.
        completion_tokens: Completion tokens of the same answers.
        lost_prompt_tokens: Prompt tokens of this run's requests that may be billed although no answer came.
        lost_completion_tokens: Maximum completion tokens of these requests, as allowed by the limit.
        num_lost: Number of these requests.
        is_spent: Whether `max_cost` stopped the run.
        num_unanswered: Questions that were given up without an answer; the next run asks them.
        last_failure: The failure of the last of those.
        longest_answer: Tokens of the longest answer of this run: not every endpoint's limit bounds thinking.
        num_judged: Answers of this run that were looked at.
        num_cut: Those of them that were cut.
        num_out_of_room: Those of the latter that were cut before `max_tokens`.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    lost_prompt_tokens: int = 0
    lost_completion_tokens: int = 0
    num_lost: int = 0
    is_spent: bool = False
    num_unanswered: int = 0
    last_failure: str = ""
    longest_answer: int = 0
    num_judged: int = 0
    num_cut: int = 0
    num_out_of_room: int = 0
    num_requests: int = 0
    num_answers: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    _began: float = field(default_factory=time.monotonic)

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        self.num_answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.longest_answer = max(self.longest_answer, answer.completion_tokens)

    def lose(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count a request that may be billed though no answer came."""
        self.num_lost += 1
        self.lost_prompt_tokens += prompt_tokens
        self.lost_completion_tokens += completion_tokens

    def note(self, cost: float | None) -> str:
        """A note for the progress bar."""
        rate = self.num_answers / max(1e-9, time.monotonic() - self._began)
        parts = [f"{rate:.1f} answers/s", f"{self.prompt_tokens + self.completion_tokens:,} tokens"]
        parts += [f"cost {cost:.4g}"] if cost is not None else []
        return ", ".join(parts + [f"{kind} ×{count}" for kind, count in self.failures.most_common()])


def cost(settings: TeacherSettings, prompt_tokens: float, completion_tokens: float) -> float | None:
    """The cost of tokens; None if no price is set."""
    if settings.input_price is None or settings.output_price is None:
        return None
    return (prompt_tokens * settings.input_price + completion_tokens * settings.output_price) / 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate of the tokens of a prompt and an answer.

    Args:
        bytes_per_token: Bytes per token of prompts, from the answers so far, else 4.
        tokens_per_answer: Tokens of an answer, from the answers so far, else 120.
        measured: Whether the estimate comes from answers so far.
    """

    bytes_per_token: float = _BYTES_PER_TOKEN
    tokens_per_answer: float = _TOKENS_PER_ANSWER
    measured: bool = False

    @classmethod
    def from_totals(cls, totals: Totals) -> Estimate:
        """What a store shows, once it has ten answers."""
        if totals.num_answers < _ENOUGH_ANSWERS or not totals.prompt_tokens:
            return cls()
        return cls(totals.prompt_bytes / totals.prompt_tokens, totals.completion_tokens / totals.num_answers, True)

    def prompt_tokens(self, prompt: str) -> int:
        """The estimated tokens of a prompt."""
        return 1 + int(len(prompt.encode()) / self.bytes_per_token)


class BudgetSpent(Exception):
    """The next request could cost more than what is left."""


class Budget:
    """Keeps the cost of all answers under a limit, with many requests in flight.

    A request reserves the most that it can cost and is settled at what it did cost; where the rest does not hold
    another one, it waits for those in flight. So the limit is overrun at most by the error of the prompt's estimate.

    Args:
        limit: The maximum cost; None: no limit.
        spent: Cost of earlier runs.
    """

    def __init__(self, limit: float | None, spent: float) -> None:
        self._limit = limit
        self._spent = spent
        self._reserved = 0.0
        self._num_reserved = 0
        self._changed = asyncio.Condition()

    async def reserve(self, amount: float) -> None:
        """Set an amount aside.

        Raises:
            BudgetSpent: It is over the limit even when nothing is in flight.
        """
        if self._limit is None:
            return
        async with self._changed:
            while self._spent + self._reserved + amount > self._limit:
                if not self._num_reserved:
                    raise BudgetSpent
                await self._changed.wait()
            self._reserved += amount
            self._num_reserved += 1

    def lose(self, amount: float) -> None:
        """Take what a request may have cost, though no answer came, for spent."""
        self._spent += amount

    async def settle(self, reserved: float, actual: float) -> None:
        """Replace what was set aside by what was paid."""
        if self._limit is None:
            return
        async with self._changed:
            self._spent += actual
            self._reserved -= reserved
            self._num_reserved -= 1
            self._changed.notify_all()


class Pace:
    """Spreads requests, or tokens, evenly over time: never more than `per_minute` in any minute.

    Args:
        per_minute: Maximum per minute; None: no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    async def wait(self, amount: float = 1.0) -> None:
        """Wait until `amount` more may be sent."""
        begin = max(time.monotonic(), self._free_at)
        self._free_at = begin + amount * self._seconds_each
        await asyncio.sleep(begin - time.monotonic())

    def correct(self, amount: float) -> None:
        """Count `amount` more (or, below 0, less) than was waited for: an answer's length is known when it is there."""
        self._free_at += amount * self._seconds_each
