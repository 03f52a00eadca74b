"""The hidden policy: what a case is, which of four outcomes it has, and how cases are drawn.

`examples/policy_desk/POLICY.md` has it in words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import combinations

LABELS = ("refund", "exchange", "store_credit", "decline")
WORDS = ("refund", "exchange", "store credit", "decline")
REASONS = ("in_time", "in_leeway", "too_late", "damaged", "final_sale", "hygiene")
"""The rules that decide, by code: how late it is, or what settles a case before any date counts."""
MAX_HOPS = 4

WINDOW_DAYS = {"cosmetics": 14, "books": 14, "electronics": 30, "kitchenware": 30, "clothing": 60, "tools": 60}
EXTRA_DAYS = {"none": 0, "silver": 14, "gold": 30}
LEEWAY_DAYS = 30
"""How long after the window goods are not yet too late."""
LASTING = ("electronics", "kitchenware", "tools")
"""Kinds that follow another rule in the leeway than the rest."""

_OUTCOMES = {
    # (condition, receipt): in time, in the leeway, later
    ("unused", True): ("refund", "by kind", "decline"),
    ("unused", False): ("store_credit", "store_credit", "decline"),
    ("opened", True): ("exchange", "exchange", "decline"),
    ("opened", False): ("store_credit", "decline", "decline"),
    ("faulty", True): ("refund", "refund", "exchange"),
    ("faulty", False): ("exchange", "store_credit", "store_credit"),
}
_LABEL_WEIGHTS = (30, 25, 23, 22)
_CONDITIONS = {"unused": 38, "opened": 30, "faulty": 20, "damaged": 12}
_TIERS = {"none": 30, "silver": 35, "gold": 35}
_RECEIPT_SHARE, _FINAL_SALE_SHARE = 0.65, 0.08
_BAND_WEIGHTS = (50, 30, 20)
_FACTS = ("days", "condition", "receipt", "tier", "final_sale", "kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The facts of one mail.

    Args:
        kind: A key of `WINDOW_DAYS`.
        days: Days since the purchase.
        condition: unused, opened, faulty (when it arrived) or damaged (by the customer).
        receipt: Whether there is one.
        tier: A key of `EXTRA_DAYS`.
        final_sale: Whether it was a final sale.
        clothing_days: The window of clothing, where the policy has changed.
    """

    kind: str
    days: int
    condition: str = "unused"
    receipt: bool = True
    tier: str = "none"
    final_sale: bool = False
    clothing_days: int = WINDOW_DAYS["clothing"]

    @property
    def window_days(self) -> int:
        """The window of its kind."""
        return self.clothing_days if self.kind == "clothing" else WINDOW_DAYS[self.kind]

    @property
    def limit_days(self) -> int:
        """The window of its kind, extended by the tier."""
        return self.window_days + EXTRA_DAYS[self.tier]

    @property
    def band(self) -> int:
        """0: in time; 1: in the leeway after the limit; 2: later."""
        late = self.days - self.limit_days
        return 0 if late <= 0 else 1 if late <= LEEWAY_DAYS else 2

    @property
    def settled_by(self) -> str | None:
        """The rule that decides before any date counts: damaged, final_sale or hygiene; None: dates decide."""
        if self.condition == "damaged":
            return "damaged"
        if self.final_sale and self.condition != "faulty":
            return "final_sale"
        return "hygiene" if self.condition == "opened" and self.kind == "cosmetics" else None

    @property
    def reason(self) -> str:
        """The rule that decides, one of `REASONS`."""
        return self.settled_by or REASONS[self.band]


def apply_policy(case: Case) -> str:
    """The outcome that the policy has for a case."""
    if case.settled_by:
        return "decline"
    outcome = _OUTCOMES[case.condition, case.receipt][case.band]
    if outcome == "by kind":
        return "exchange" if case.kind in LASTING else "store_credit"
    return outcome


def draw_case(rng: random.Random, hops: int, clothing_days: int = WINDOW_DAYS["clothing"]) -> Case:
    """A case in which so many rules take part; its label is drawn first, so that labels stay balanced."""
    return _draw_case_of(rng.choices(LABELS, _LABEL_WEIGHTS)[0], rng, hops, clothing_days)


def misread(case: Case, label: str, rng: random.Random, hops: int) -> Case:
    """The case as somebody reads it who wants it to come out at a label: with few facts of another case that does."""
    other = _draw_case_of(label, rng, hops, case.clothing_days)
    for number in range(1, len(_FACTS) + 1):
        mixed = [
            replace(case, **{fact: getattr(other, fact) for fact in facts}) for facts in combinations(_FACTS, number)
        ]
        if fitting := [read for read in mixed if apply_policy(read) == label]:
            return rng.choice(fitting)
    raise AssertionError("the other case has the label itself")


def _draw_case_of(label: str, rng: random.Random, hops: int, clothing_days: int) -> Case:
    while apply_policy(case := _draw_facts(rng, hops, clothing_days)) != label:
        pass
    return case


def _draw_facts(rng: random.Random, hops: int, clothing_days: int) -> Case:
    case = Case(kind=rng.choice(list(WINDOW_DAYS)), days=0, clothing_days=clothing_days)
    if hops >= 2:
        condition = rng.choices(list(_CONDITIONS), list(_CONDITIONS.values()))[0]
        case = replace(case, condition=condition, final_sale=rng.random() < _FINAL_SALE_SHARE)
    if hops >= 3:
        case = replace(case, receipt=rng.random() < _RECEIPT_SHARE)
    if hops >= 4:
        case = replace(case, tier=rng.choices(list(_TIERS), list(_TIERS.values()))[0])
    return replace(case, days=_draw_days(rng, case.limit_days))


def _draw_days(rng: random.Random, limit: int) -> int:
    """Well inside one of the three bands: nobody is late by a day."""
    late = limit + LEEWAY_DAYS
    bands = ((limit // 5 + 1, limit * 4 // 5), (limit + 5, late - 5), (late + 10, late + 35))
    return rng.randint(*rng.choices(bands, _BAND_WEIGHTS)[0])
