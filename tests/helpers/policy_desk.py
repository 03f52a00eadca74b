"""Mail of the returns desk, and its facts read off it by the phrases that state them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from dhrd.data.policy_desk import PolicyDesk, phrases
from dhrd.data.policy_desk.policy import Case
from dhrd.data.policy_desk.wording import say_days


def rows(spec: str = "", split: str = "train") -> list[dict[str, Any]]:
    """The rows of a spec."""
    return list(PolicyDesk.parse(spec).generate(split))


def column(found: list[dict[str, Any]], name: str) -> list[Any]:
    """One column of rows."""
    return [row[name] for row in found]


@cache
def as_regex(pattern: str) -> re.Pattern[str]:
    """What matches a sentence of a pattern: choices as alternatives, the time captured, other slots as anything."""
    text = re.escape(pattern)
    for escaped, meant in ((r"\ ", " ?"), (r"\[", "(?:"), (r"\]", ")"), (r"\|", "|")):
        text = text.replace(escaped, meant)
    text = text.replace(r"\{days\}", r"(?P<days>\b[\w-]+ (?:days|weeks)(?: and \w+ days?)?)")
    return re.compile(re.sub(r"\\{\w+\\}", r"[a-z\\s-]+?", text), re.IGNORECASE)


@cache
def days_in_words() -> dict[str, int]:
    """Every way to say a number of days, and the number."""
    rng = random.Random(0)
    return {say_days(days, rng): days for days in range(1, 160) for _ in range(200)}


def stated(text: str, patterns: Iterable[str]) -> re.Match[str] | None:
    """Where a text has a sentence of one of the patterns."""
    return next((match for one in patterns if (match := as_regex(one).search(text))), None)


def read_off(text: str) -> Case:
    """The facts of a mail, by the phrases that state them; each must be stated once."""
    time = stated(text, phrases.TIME) or stated(text, phrases.PURCHASE)
    assert time is not None, text
    item = re.compile(r"\b(" + "|".join(one for items in phrases.ITEMS.values() for one in items) + r")\b")
    [noun] = set(item.findall(text))
    [kind] = [kind for kind, items in phrases.ITEMS.items() if noun in items]
    [condition] = [name for name, patterns in phrases.CONDITIONS.items() if stated(text, patterns)]
    [receipt] = [has for has, patterns in phrases.RECEIPT.items() if stated(text, patterns)]
    [tier] = [name for name, patterns in phrases.TIERS.items() if stated(text, patterns)]
    return Case(
        kind=kind,
        days=days_in_words()[time["days"].lower()],
        condition=condition,
        receipt=receipt,
        tier=tier,
        final_sale=stated(text, phrases.FINAL_SALE) is not None,
    )
