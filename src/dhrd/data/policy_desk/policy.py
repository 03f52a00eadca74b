"""The hidden policy: what a case is, which of four outcomes it has, and how cases are drawn. POLICY.md has it in words."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import product

LABELS = ("refund", "exchange", "store_credit", "decline")
WORDS = ("refund", "exchange", "store credit", "decline")
MAX_HOPS = 4

WINDOW_DAYS = {"cosmetics": 14, "books": 14, "electronics": 30, "kitchenware": 30, "clothing": 60, "tools": 60}
EXTRA_DAYS = {"none": 0, "silver": 14, "gold": 30}
LEEWAY_DAYS = 14
"""How long each of the two bands after the window is."""

_OUTCOMES = {
    # (condition, receipt): in time, late by 1 to 14 days, by 15 to 28 days, by more
    ("unused", True): ("refund", "exchange", "store_credit", "decline"),
    ("unused", False): ("store_credit", "store_credit", "decline", "decline"),
    ("opened", True): ("exchange", "store_credit", "decline", "decline"),
    ("opened", False): ("store_credit", "decline", "decline", "decline"),
    ("faulty", True): ("refund", "refund", "exchange", "exchange"),
    ("faulty", False): ("exchange", "exchange", "store_credit", "decline"),
}
_LABEL_WEIGHTS = (30, 25, 23, 22)
_CONDITIONS = {"unused": 45, "opened": 30, "faulty": 17, "damaged": 8}
_TIERS = {"none": 30, "silver": 35, "gold": 35}
_RECEIPT_SHARE, _FINAL_SALE_SHARE = 0.7, 0.06
_LATE_DAYS = ((1, 14), (15, 28), (29, 50))
_EARLIEST_SHARE = 0.25  # of the limit: nobody writes on the first day


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The facts of one mail.

    Args:
        kind: A key of `WINDOW_DAYS`.
        days: Since the purchase.
        condition: unused, opened, faulty (when it arrived) or damaged (by the customer).
        receipt: Whether there is one.
        tier: A key of `EXTRA_DAYS`.
        final_sale: Whether it was sold so.
    """

    kind: str
    days: int
    condition: str = "unused"
    receipt: bool = True
    tier: str = "none"
    final_sale: bool = False

    @property
    def limit_days(self) -> int:
        """The window of its kind, extended by the tier."""
        return WINDOW_DAYS[self.kind] + EXTRA_DAYS[self.tier]

    @property
    def band(self) -> int:
        """0: in time; 1 and 2: in the first and second fortnight after the limit; 3: later."""
        late = self.days - self.limit_days
        return 0 if late <= 0 else min(3, 1 + (late - 1) // LEEWAY_DAYS)

    @property
    def settled_by(self) -> str | None:
        """The rule that decides before any date counts: damaged, final_sale or hygiene; None: dates decide."""
        if self.condition == "damaged":
            return "damaged"
        if self.final_sale and self.condition != "faulty":
            return "final_sale"
        return "hygiene" if self.condition == "opened" and self.kind == "cosmetics" else None


def decide(case: Case) -> str:
    """The outcome that the policy has for a case."""
    return "decline" if case.settled_by else _OUTCOMES[case.condition, case.receipt][case.band]


def draw_case(rng: random.Random, hops: int) -> Case:
    """A case in which so many rules take part, drawn for a label that was drawn before it: labels stay balanced."""
    label = rng.choices(LABELS, _LABEL_WEIGHTS)[0]
    while decide(case := _draw_facts(rng, hops)) != label:
        pass
    return case


def _draw_facts(rng: random.Random, hops: int) -> Case:
    case = Case(kind=rng.choice(list(WINDOW_DAYS)), days=0)
    if hops >= 2:
        condition = rng.choices(list(_CONDITIONS), list(_CONDITIONS.values()))[0]
        case = replace(case, condition=condition, final_sale=rng.random() < _FINAL_SALE_SHARE)
    if hops >= 3:
        case = replace(case, receipt=rng.random() < _RECEIPT_SHARE)
    if hops >= 4:
        case = replace(case, tier=rng.choices(list(_TIERS), list(_TIERS.values()))[0])
    return replace(case, days=_draw_days(rng, case.limit_days))


def _draw_days(rng: random.Random, limit: int) -> int:
    if rng.random() < 0.5:
        return rng.randint(round(_EARLIEST_SHARE * limit), limit)
    first, last = rng.choice(_LATE_DAYS)
    return limit + rng.randint(first, last)


def misread(case: Case, label: str, rng: random.Random, hops: int) -> Case:
    """The case as one reads it who wants it to come out at a label: as few facts changed as that takes."""
    conditions = _CONDITIONS if hops >= 2 else [case.condition]
    receipts = (True, False) if hops >= 3 else (case.receipt,)
    tiers = EXTRA_DAYS if hops >= 4 else [case.tier]
    read = [
        replace(case, condition=condition, receipt=receipt, tier=tier, days=days)
        for condition, receipt, tier in product(conditions, receipts, tiers)
        for days in (case.days, _draw_days(rng, case.limit_days))
    ]
    while not (fitting := [one for one in read if decide(one) == label]):
        read = [_draw_facts(rng, hops) for _ in range(100)]
        read = [replace(one, kind=case.kind) for one in read]
    fewest = min(_num_changed(case, one) for one in fitting)
    return rng.choice([one for one in fitting if _num_changed(case, one) == fewest])


def _num_changed(case: Case, other: Case) -> int:
    facts = ("days", "condition", "receipt", "tier", "final_sale")
    return sum(getattr(case, fact) != getattr(other, fact) for fact in facts)
