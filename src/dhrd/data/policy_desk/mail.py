"""A case as a customer's mail: a sentence for each fact, in any order, among sentences that decide nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dhrd.data.policy_desk import phrases
from dhrd.data.policy_desk.policy import Case
from dhrd.data.policy_desk.wording import draw_sentence

_LEAST_WORDS, _MOST_WORDS = 26, 40  # with the last sentence some 30 to 70 tokens
_ITEM_AGAIN_SHARE, _ONE_SENTENCE_SHARE, _SIGNED_SHARE = 0.5, 0.65, 0.6


def write_mail(case: Case, item: str, days: str, rng: random.Random, *, hops: int, split: str) -> str:
    """The mail.

    Args:
        case: The case; facts of rules beyond `hops` are not mentioned.
        item: What was bought, of the case's kind.
        days: The time since the purchase in words.
        rng: Draws order and wording.
        hops: How many rules take part.
        split: Whose sentences to use: no two splits share one.
    """
    facts = _facts(case, rng, hops)
    rng.shuffle(facts)
    sentences: list[str] = []
    for patterns in facts:
        slots = _slots(case, item, days, rng, first=not any(item in sentence for sentence in sentences))
        sentences.append(draw_sentence(patterns, slots, rng, split))
    least, others = rng.randint(_LEAST_WORDS, _MOST_WORDS), list(phrases.OTHERS)
    rng.shuffle(others)
    while len(" ".join(sentences).split()) < least:
        sentences.insert(rng.randint(0, len(sentences)), draw_sentence([others.pop()], {}, rng, split))
    signed = rng.random()  # by a first sentence, a last one, or not: never by two names
    if signed < _SIGNED_SHARE / 2:
        sentences.insert(0, draw_sentence(phrases.OPENINGS, {}, rng, split))
    elif signed < _SIGNED_SHARE:
        sentences.append(draw_sentence(phrases.CLOSINGS, {}, rng, split))
    return " ".join(sentences)


def _facts(case: Case, rng: random.Random, hops: int) -> list[Sequence[str]]:
    """For each fact, the patterns of the sentences that state it."""
    together = rng.random() < _ONE_SENTENCE_SHARE
    facts: list[Sequence[str]] = [phrases.PURCHASE] if together else [phrases.ITEM, phrases.TIME]
    if hops >= 2:
        facts.append(phrases.CONDITIONS[case.condition])
    if case.final_sale:
        facts.append(phrases.FINAL_SALE)
    if hops >= 3:
        facts.append(phrases.RECEIPT[case.receipt])
    if hops >= 4:
        facts.append(phrases.TIERS[case.tier])
    return facts


def _slots(case: Case, item: str, days: str, rng: random.Random, *, first: bool) -> dict[str, str]:
    wore, worn = phrases.USE.get(case.kind, phrases.OTHER_USE)
    article = "an" if item[0] in "aeiou" else "a"
    return {
        "a": f"{article} {item}" if first else f"the {item}",
        "the": f"the {item}",
        "it": f"the {item}" if first or rng.random() < _ITEM_AGAIN_SHARE else "it",
        "days": days,
        "wore": wore,
        "worn": worn,
        "fault": phrases.FAULTS[case.kind],
    }
