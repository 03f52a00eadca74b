"""A rationale for a case: the facts read off the mail and the rule that they meet, never the outcome's name."""

from __future__ import annotations

import random

from dhrd.data.policy_desk.policy import EXTRA_DAYS, LASTING, Case
from dhrd.data.policy_desk.wording import capitalize, expand

_LASTS = {True: "{kind} are [lasting goods|made to last].", False: "{kind} are [no lasting goods|not made to last]."}
_KIND = "{an_item} [falls under|belongs to|counts among the] {kind}"
_BANDS = (
    "{count} [are within|do not exceed|fit into] {limit}, [so it is in time|which is still in time].",
    "{count} [are over|exceed|are more than] {limit}, [late, but inside the leeway|late by {late}, inside the leeway].",
    "{count} [are over|exceed|are more than] {limit}, [beyond the leeway too|late by {late}, past the leeway].",
)
_SETTLED = {
    "damaged": "[The customer's own side broke it|The harm was done at home], and [own damage settles the case before "
    "any date counts|with own damage no date and no paper matters].",
    "final_sale": "It was [sold as final sale|a final sale piece] and [arrived sound|has no fault], [so no window was "
    "ever open for it|and then neither dates nor papers matter].",
    "hygiene": "It was [opened|unsealed and used], and [opened cosmetics fall under the hygiene rule|the hygiene rule "
    "for cosmetics comes first], [whatever the date|before any date].",
}
_CONDITIONS = {
    "unused": "[it is unopened|nothing was opened|the seal is intact|it was never used]",
    "opened": "[it was opened and used|it is opened but sound|it has been in use]",
    "faulty": "[it came with a fault|it was faulty on arrival|the fault was there from the start]",
}
_RECEIPT = {
    True: "[and the receipt is there|and there is a receipt|and proof of purchase is there]",
    False: "[and there is no receipt|but the receipt is missing|and proof of purchase is missing]",
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
    late, window = case.days - case.limit_days, f"the {case.window_days} days for {case.kind}"
    extended = case.tier != "none"
    slots = {
        "an_item": f"{'an' if item[0] in 'aeiou' else 'a'} {item}",
        "kind": case.kind,
        "days": days,
        "count": f"{days}, {case.days} days," if "week" in days and not extended else f"{case.days} days",
        "window": window,
        "tier": case.tier,
        "extra": str(EXTRA_DAYS[case.tier]),
        "limit": f"the {case.limit_days} days" if extended else window,
        "late": f"{late} day{'s' * (late != 1)}",
    }
    return " ".join(capitalize(expand(part.format_map(slots), rng)) for part in _steps(case, hops))


def _steps(case: Case, hops: int) -> list[str]:
    """The sentences as patterns, in the order of the reasoning."""
    if case.settled_by:
        return [f"{_KIND} and was [bought|paid for] {{days}} ago.", _SETTLED[case.settled_by]]
    steps = [f"{_KIND}.", _BANDS[case.band]]
    if case.tier != "none":
        steps.insert(1, "{tier} [adds|status adds] {extra} to {window}.")
    if hops >= 2:
        steps.append(f"{_CONDITIONS[case.condition]}{' ' + _RECEIPT[case.receipt] if hops >= 3 else ''}.")
    if case.condition == "unused" and case.receipt and case.band == 1:
        steps.append(_LASTS[case.kind in LASTING])
    elif hops == 1:
        steps.append("[Nothing else counts|The date alone counts|No other fact is needed].")
    return steps
