"""Counting what a run sends, gets and pays, and keeping it within its limits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dhrd.rationales.teacher.tally import Budget, BudgetSpent, Pace


def test_pace_corrects_what_it_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    async def sleep(seconds: float) -> None:
        now[0] += max(0.0, seconds)

    monkeypatch.setattr("dhrd.rationales.teacher.tally.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("dhrd.rationales.teacher.tally.asyncio", SimpleNamespace(sleep=sleep))

    def seconds(guess: float, correction: float) -> float:
        async def run() -> None:
            pace = Pace(60_000)  # 1000 a second
            await pace.wait(guess)
            pace.correct(correction)
            await pace.wait(guess)

        began = now[0]
        asyncio.run(run())
        return now[0] - began

    assert seconds(200, 0) == pytest.approx(0.2)
    assert seconds(200, 200) == pytest.approx(0.4)
    assert seconds(200, -150) == pytest.approx(0.05)


def test_the_budget_waits_for_what_is_in_flight() -> None:
    async def run() -> list[str]:
        budget, events = Budget(1.0, 0.0), []
        await budget.reserve(0.8)

        async def second() -> None:
            await budget.reserve(0.8)
            events.append("second")

        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.01)
        events.append("settled")
        await budget.settle(0.8, 0.1)
        await waiting
        await budget.settle(0.8, 0.8)
        with pytest.raises(BudgetSpent):
            await budget.reserve(0.2)
        return events

    assert asyncio.run(run()) == ["settled", "second"]
