"""The policy: each rule of it, and facts that are misread."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from dhrd.data.policy_desk import LABELS
from dhrd.data.policy_desk.policy import EXTRA_DAYS, MAX_HOPS, WINDOW_DAYS, Case, apply_policy, draw_case, misread


def cases(hops: int) -> list[Case]:
    rng = random.Random(hops)
    return [draw_case(rng, hops) for _ in range(400)]


@pytest.mark.parametrize("hops", range(1, MAX_HOPS + 1))
def test_misread_facts_lead_to_the_label_and_stay_within_the_hops(hops: int) -> None:
    rng = random.Random(0)
    for case, label in product(cases(hops)[:50], LABELS):
        read = misread(case, label, rng, hops)
        assert apply_policy(read) == label
        assert hops >= 2 or (read.condition == "unused" and not read.final_sale)
        assert hops >= 3 or read.receipt
        assert hops >= 4 or read.tier == "none"


@pytest.mark.parametrize(
    ("stated_facts", "label"),
    [
        ({"kind": "books", "days": 14}, "refund"),
        ({"kind": "books", "days": 15}, "store_credit"),
        ({"kind": "electronics", "days": 31}, "exchange"),
        ({"kind": "electronics", "days": 60}, "exchange"),
        ({"kind": "electronics", "days": 61}, "decline"),
        ({"kind": "books", "days": 44, "tier": "gold"}, "refund"),
        ({"kind": "books", "days": 29, "tier": "silver"}, "store_credit"),
        ({"kind": "tools", "days": 5, "receipt": False}, "store_credit"),
        ({"kind": "clothing", "days": 40, "clothing_days": 20}, "store_credit"),
        ({"kind": "tools", "days": 40, "clothing_days": 20}, "refund"),
        ({"kind": "clothing", "days": 60, "condition": "opened"}, "exchange"),
        ({"kind": "cosmetics", "days": 3, "condition": "opened"}, "decline"),
        ({"kind": "cosmetics", "days": 3, "condition": "faulty", "final_sale": True}, "refund"),
        ({"kind": "tools", "days": 3, "final_sale": True}, "decline"),
        ({"kind": "tools", "days": 3, "condition": "damaged"}, "decline"),
        ({"kind": "tools", "days": 300, "condition": "faulty", "receipt": False}, "store_credit"),
    ],
)
def test_the_policy_in_words(stated_facts: dict[str, Any], label: str) -> None:
    assert apply_policy(Case(**stated_facts)) == label


def test_every_rule_decides_some_case() -> None:
    """Each fact matters: for each there is a case whose label changes with it alone."""
    changes = {
        "kind": WINDOW_DAYS,
        "days": range(1, 150, 7),
        "condition": ("unused", "opened", "faulty", "damaged"),
        "receipt": (True, False),
        "tier": EXTRA_DAYS,
        "final_sale": (True, False),
    }
    for fact, values in changes.items():
        others = [{apply_policy(replace(case, **{fact: value})) for value in values} for case in cases(4)]
        assert any(len(labels) > 1 for labels in others), fact
