"""The words of the mails: complete for every fact, and none of them twice."""

from __future__ import annotations

import random
import string

import pytest

from dhrd.data.policy_desk import phrases
from dhrd.data.policy_desk.policy import EXTRA_DAYS, WINDOW_DAYS
from dhrd.data.policy_desk.wording import SPLITS, draw_sentence

SLOTS = {"a", "the", "it", "days", "wore", "worn", "fault"}
GROUPS = {
    "purchase": phrases.PURCHASE,
    "item": phrases.ITEM,
    "time": phrases.TIME,
    "final sale": phrases.FINAL_SALE,
    **phrases.CONDITIONS,
    **{f"receipt {has}": patterns for has, patterns in phrases.RECEIPT.items()},
    **{f"tier {tier}": patterns for tier, patterns in phrases.TIERS.items()},
}


def slots_of(pattern: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(pattern) if name}


def test_every_kind_and_fact_has_words() -> None:
    assert set(phrases.ITEMS) == set(phrases.FAULTS) == set(WINDOW_DAYS)
    assert set(phrases.CONDITIONS) == {"unused", "opened", "faulty", "damaged"}
    assert set(phrases.TIERS) == set(EXTRA_DAYS)
    items = [item for kind in phrases.ITEMS.values() for item in kind]
    assert len(items) == len(set(items)) == 72


@pytest.mark.parametrize("group", GROUPS)
def test_a_sentence_of_each_split_can_be_drawn(group: str) -> None:
    assert set().union(*map(slots_of, GROUPS[group])) <= SLOTS
    slots = dict.fromkeys(SLOTS, "word")
    drawn = [draw_sentence(GROUPS[group], slots, random.Random(0), split) for split in SPLITS]
    assert len(set(drawn)) == 3
    assert not any(sign in sentence for sentence in drawn for sign in "[]{}|")


def test_filler_states_no_fact() -> None:
    assert len(set(phrases.OTHERS)) == len(phrases.OTHERS)
    assert not any(map(slots_of, phrases.OTHERS))
