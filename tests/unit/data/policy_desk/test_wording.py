"""How phrases become sentences."""

from __future__ import annotations

import random

from dhrd.data.policy_desk.wording import say_days


def test_days_are_said_in_several_ways() -> None:
    rng = random.Random(0)
    assert {say_days(42, rng) for _ in range(100)} == {"42 days", "forty-two days", "6 weeks", "six weeks"}
    assert "five weeks and one day" in {say_days(36, rng) for _ in range(200)}
    assert {say_days(104, rng) for _ in range(100)} >= {"104 days", "14 weeks and 6 days"}
