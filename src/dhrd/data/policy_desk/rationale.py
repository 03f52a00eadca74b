"""A rationale for a case: the facts read off the mail and the rule that they meet, never the outcome's name."""

from __future__ import annotations

import random

from dhrd.data.policy_desk.policy import EXTRA_DAYS, LEEWAY_DAYS, WINDOW_DAYS, Case
from dhrd.data.policy_desk.wording import capitalize, expand

_BANDS = (
    "[which is in time|so it is in time|still within the limit]",
    f"[late by {{late}}, inside the first {LEEWAY_DAYS} days of leeway|{{late}} over, within the first fortnight after it]",
    "[late by {late}, in the second fortnight|{late} over, past the first fortnight but inside the second]",
    "[late by {late}, beyond both fortnights of leeway|{late} over, more than the whole leeway]",
)
_SETTLED = {
    "damaged": "[The customer's own side broke it|The harm was done at home], and [own damage settles the case before any "
    "date counts|for own damage no date and no paper matters].",
    "final_sale": "It was [sold as final sale|a final sale piece] and [arrived sound|has no fault], [so no window was ever "
    "open for it|and then neither dates nor papers matter].",
    "hygiene": "It was [opened|unsealed and used], and [opened cosmetics fall under the hygiene rule|the hygiene rule for "
    "cosmetics comes first], [whatever the date|before any date].",
}
_CONDITIONS = {
    "unused": "[it is unopened|nothing was opened|the seal is intact|it was never used]",
    "opened": "[it was opened and used|it is opened but sound|it has been in use]",
    "faulty": "[it came with a fault|it was faulty on arrival|the fault was there from the start]",
}
_RECEIPT = {
    True: "[the receipt is there|there is a receipt|proof of purchase is there]",
    False: "[there is no receipt|the receipt is missing|proof of purchase is missing]",
}
_RULES = {
    "unused": "[the rule for unopened goods|unopened goods]",
    "opened": "[the rule for opened goods|opened goods]",
    "faulty": "[the rule for faulty goods|faulty goods]",
}


def write_rationale(case: Case, item: str, days: str, rng: random.Random, *, hops: int) -> str:
    """The steps from the facts to the rule, worded at random.

    Args:
        case: The facts as they are, or as they were misread.
        item: What was bought.
        days: The time since the purchase as the mail has it.
        rng: Draws the wording.
        hops: How many rules take part.
    """
    kind = (
        f"[A|This] {item} [is|counts as|belongs to] {case.kind}"
        if item[0] not in "aeiou"
        else f"An {item} is {case.kind}"
    )
    if case.settled_by:
        parts = [f"{kind}, [bought|paid for] {{days}} ago.", _SETTLED[case.settled_by]]
    else:
        parts = [f"{kind}, [which has|with a window of|where the limit is] {{window}} days.", *_dates(case, hops)]
        parts += _state(case, hops)
    late = case.days - case.limit_days
    slots = {
        "days": days,
        "count": f"{case.days} days",
        "window": str(WINDOW_DAYS[case.kind]),
        "limit": str(case.limit_days),
        "extra": str(EXTRA_DAYS[case.tier]),
        "late": f"{late} day{'s' * (late != 1)}",
    }
    return " ".join(capitalize(expand(part.format_map(slots), rng)) for part in parts)


def _dates(case: Case, hops: int) -> list[str]:
    over = "[are within|do not exceed|fit into]" if case.band == 0 else "[are over|exceed|are more than]"
    what = "{limit} days" if hops >= 4 and case.tier != "none" else f"{{limit}} days for {case.kind}"
    dates = f"{{count}} {over} the {what}, {_BANDS[case.band]}."
    if hops < 4:
        return [dates]
    if case.tier == "none":
        return ["[No card, so nothing is added.|Without a card that stays.]", dates]
    return [f"[The {case.tier} card adds|{case.tier.title()} adds] {{extra}}, [which makes|so] {{limit}}.", dates]


def _state(case: Case, hops: int) -> list[str]:
    if hops < 2:
        return ["[The date alone decides.|Nothing but the date counts here.|That gap is what the rule looks at.]"]
    if hops < 3:
        return [
            f"{_CONDITIONS[case.condition]}, so {_RULES[case.condition]} [at that date|with that date] [applies|is what counts]."
        ]
    return [f"{_CONDITIONS[case.condition]} and {_RECEIPT[case.receipt]}."]
