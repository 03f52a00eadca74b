"""What a mail states."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dhrd.data.policy_desk import SPLITS
from dhrd.data.policy_desk.policy import MAX_HOPS, apply_policy
from helpers.policy_desk import column, read_off, rows


def sentences(found: list[dict[str, Any]]) -> set[str]:
    return {part for row in found for part in re.split(r"(?<=[.?]) ", row["input_text"])}


@pytest.mark.parametrize("hops", range(1, MAX_HOPS + 1))
def test_no_two_splits_share_a_sentence(hops: int) -> None:
    found = {split: rows(f"rows=400,hops={hops}", split) for split in SPLITS}
    texts = [text for split in SPLITS for text in column(found[split], "input_text")]
    assert len(set(texts)) == len(texts) == 1200
    parts = {split: sentences(found[split]) for split in SPLITS}
    assert min(map(len, parts.values())) > 500
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not parts[one] & parts[other]


@pytest.mark.parametrize("split", SPLITS)
def test_the_label_follows_from_what_the_mail_states(split: str) -> None:
    for row in rows("rows=150,hops=4", split):
        assert apply_policy(read_off(row["input_text"])) == row["true_label"], row
