"""What a rationale says, and what it never names."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from dhrd.data.policy_desk import LABELS
from dhrd.data.policy_desk.policy import MAX_HOPS
from dhrd.data.records import LabelSet
from dhrd.rationales.audit.leak import leak_patterns
from helpers.policy_desk import column, read_off, rows

SYNONYMS = (r"refund", r"exchang", r"credit", r"declin", r"swap", r"replace", r"money", r"reject", r"refus", r"voucher")


@pytest.mark.parametrize("hops", range(1, MAX_HOPS + 1))
def test_labels_are_balanced_and_rationales_name_none(hops: int) -> None:
    found = rows(f"rows=600,hops={hops}")
    counts = Counter(column(found, "label"))
    assert set(counts) == set(LABELS) and 0.15 < min(counts.values()) / 600 < max(counts.values()) / 600 < 0.4
    patterns = leak_patterns(LabelSet(LABELS), forbid=[rf"\w*{word}\w*" for word in SYNONYMS])
    assert not [row["rationale"] for row in found if patterns.spans(row["rationale"])]
    assert not [row for row in found if re.search(r"[][{}|]|  ", row["input_text"] + row["rationale"])]


def test_a_rationale_counts_the_days_of_its_mail() -> None:
    for row in rows("rows=300,hops=4"):
        days = re.search(r"(\d+) days,? (?:are|exceed|do not|fit)|(?:bought|paid for) (.+) ago", row["rationale"])
        assert days is not None
        assert read_off(row["input_text"]).days == int(days[1]) if days[1] else days[2] in row["input_text"].lower()
