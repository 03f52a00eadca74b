"""Mail to the returns desk: what is the same and what differs by spec, splits that share no sentence, labels, leaks."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.policy_desk import LABELS, SPLITS, PolicyDesk, phrases
from dhrd.data.policy_desk.policy import EXTRA_DAYS, MAX_HOPS, WINDOW_DAYS, Case, apply_policy, draw_case, misread
from dhrd.data.policy_desk.wording import say_days
from dhrd.data.records import Example, LabelSet
from dhrd.data.sources import open_source
from dhrd.errors import DataError
from dhrd.rationales.audit.leak import leak_patterns

GENERATE = Path(__file__).parents[3] / "examples" / "policy_desk" / "generate.py"
SYNONYMS = (r"refund", r"exchang", r"credit", r"declin", r"swap", r"replace", r"money", r"reject", r"refus", r"voucher")


def rows(spec: str = "", split: str = "train") -> list[dict[str, Any]]:
    return list(PolicyDesk.parse(spec).generate(split))


def load(spec: str, split: str = "train") -> list[Example]:
    return open_source(f"policy_desk:{spec}", DataSettings(), split=split).load()


def column(found: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in found]


def sentences(found: list[dict[str, Any]]) -> set[str]:
    return {part for row in found for part in re.split(r"(?<=[.?]) ", row["input_text"])}


def cases(hops: int) -> list[Case]:
    rng = random.Random(hops)
    return [draw_case(rng, hops) for _ in range(400)]


# Results are computed on these rows: they must never change.
GOLDEN = {
    ("hops=1", "train"): "b8935698ee436c3b",
    ("hops=2", "validation"): "71d27f9eecad738e",
    ("", "train"): "3c2c1887f07eb883",
    ("", "test"): "7704d587f94f657f",
    ("hops=4,noise=0.5,seed=3", "train"): "f30579b3b153bd5f",
    ("noise=0.5,rationale_of=given", "train"): "3d79fc653ba45f47",
}


@pytest.mark.parametrize(("spec", "split"), GOLDEN)
def test_rows_never_change(spec: str, split: str) -> None:
    text = json.dumps(rows(f"rows=40,{spec}", split))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[spec, split]


def test_fewer_rows_are_the_first_of_more_and_another_seed_has_others() -> None:
    assert rows("rows=10") == rows("rows=30")[:10]
    assert not set(column(rows("rows=50"), "input_text")) & set(column(rows("rows=50,seed=1"), "input_text"))


@pytest.mark.parametrize("hops", range(1, MAX_HOPS + 1))
def test_no_two_splits_share_a_sentence(hops: int) -> None:
    found = {split: rows(f"rows=400,hops={hops}", split) for split in SPLITS}
    texts = [text for split in SPLITS for text in column(found[split], "input_text")]
    assert len(set(texts)) == len(texts) == 1200
    parts = {split: sentences(found[split]) for split in SPLITS}
    assert min(map(len, parts.values())) > 500
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not parts[one] & parts[other]


def test_noise_changes_training_labels_alone() -> None:
    clean, noisy, noisier = (rows(f"rows=2000,noise={share}") for share in (0, 0.25, 0.5))
    for name in ("id", "input_text", "true_label", "rationale"):
        assert column(clean, name) == column(noisy, name) == column(noisier, name)
    assert column(clean, "label") == column(clean, "true_label")
    wrong = {row["id"] for row in noisy if row["label"] != row["true_label"]}
    assert 0.15 < len(wrong) / 2000 < 0.225  # three of four labels drawn are wrong
    assert wrong < {row["id"] for row in noisier if row["label"] != row["true_label"]}
    assert len({row["label"] for row in noisy if row["id"] in wrong}) == len(LABELS)
    for split in ("validation", "test"):
        assert rows("rows=50,noise=1", split) == rows("rows=50", split)


def test_a_rationale_of_the_given_label_misreads_the_facts() -> None:
    true, given = rows("rows=300,noise=0.5"), rows("rows=300,noise=0.5,rationale_of=given")
    for name in ("input_text", "label", "true_label"):
        assert column(true, name) == column(given, name)
    for one, other in zip(true, given, strict=True):
        assert (one["rationale"] == other["rationale"]) == (one["label"] == one["true_label"])


@pytest.mark.parametrize("hops", range(1, MAX_HOPS + 1))
def test_misread_facts_lead_to_the_label_and_stay_within_the_hops(hops: int) -> None:
    rng = random.Random(0)
    for case, label in product(cases(hops)[:50], LABELS):
        read = misread(case, label, rng, hops)
        assert apply_policy(read) == label
        assert hops >= 2 or (read.condition == "unused" and not read.final_sale)
        assert hops >= 3 or read.receipt
        assert hops >= 4 or read.tier == "none"


@pytest.mark.parametrize("hops", range(1, MAX_HOPS + 1))
def test_labels_are_balanced_and_rationales_name_none(hops: int) -> None:
    found = rows(f"rows=600,hops={hops}")
    counts = Counter(column(found, "label"))
    assert set(counts) == set(LABELS) and 0.15 < min(counts.values()) / 600 < max(counts.values()) / 600 < 0.4
    patterns = leak_patterns(LabelSet(LABELS), forbid=[rf"\w*{word}\w*" for word in SYNONYMS])
    assert not [row["rationale"] for row in found if patterns.spans(row["rationale"])]
    assert not [row for row in found if re.search(r"[][{}|]|  ", row["input_text"] + row["rationale"])]


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
    rng = random.Random(0)
    return {say_days(days, rng): days for days in range(1, 160) for _ in range(200)}


def stated(text: str, patterns: Iterable[str]) -> re.Match[str] | None:
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


@pytest.mark.parametrize("split", SPLITS)
def test_the_label_follows_from_what_the_mail_states(split: str) -> None:
    for row in rows("rows=150,hops=4", split):
        assert apply_policy(read_off(row["input_text"])) == row["true_label"], row


def test_a_rationale_counts_the_days_of_its_mail() -> None:
    for row in rows("rows=300,hops=4"):
        days = re.search(r"(\d+) days,? (?:are|exceed|do not|fit)|(?:bought|paid for) (.+) ago", row["rationale"])
        assert days is not None
        assert read_off(row["input_text"]).days == int(days[1]) if days[1] else days[2] in row["input_text"].lower()


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


def test_days_are_said_in_several_ways() -> None:
    rng = random.Random(0)
    assert {say_days(42, rng) for _ in range(100)} == {"42 days", "forty-two days", "6 weeks", "six weeks"}
    assert "five weeks and one day" in {say_days(36, rng) for _ in range(200)}
    assert {say_days(104, rng) for _ in range(100)} >= {"104 days", "14 weeks and 6 days"}


def test_the_spec_is_a_source_of_rows() -> None:
    source = open_source("policy_desk:rows=5,hops=2,noise=0.5,seed=3", DataSettings())
    assert source.labels is not None and source.labels.names == LABELS
    assert source.labels.words == ("refund", "exchange", "store credit", "decline")
    found = source.load()
    assert [example.id for example in found] == [f"policy-train-3-{number}" for number in range(5)]
    assert all(example.rationale and example.fields["true_label"] in LABELS for example in found)
    assert [example.input_text for example in found] == column(rows("rows=5,hops=2,seed=3"), "input_text")
    assert len(load("", "validation")) == 300
    assert load("seed=1", "test")[0].id == "policy-test-1-0"


@pytest.mark.parametrize(
    ("spec", "split", "said"),
    [
        ("row=5", "train", "'row' is unknown; it takes rows=…, hops=…"),
        ("rows", "train", "'rows' is unknown"),
        ("rows=0", "train", "rows=0: Input should be greater than or equal to 1"),
        ("rows=many", "train", "rows=many: Input should be a valid integer"),
        ("hops=5", "train", "hops=5: Input should be less than or equal to 4"),
        ("noise=1.5", "train", "noise=1.5: Input should be less than or equal to 1"),
        ("noise=nan", "train", "noise=nan"),
        ("seed=-1", "train", "seed=-1"),
        ("rationale_of=mine", "train", "rationale_of=mine: Input should be 'true' or 'given'"),
        ("rows=5", "dev", "no split 'dev'; splits are train, validation, test"),
    ],
)
def test_a_spec_that_cannot_be_is_one_line(spec: str, split: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load(spec, split)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_script_writes_the_same_rows(tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    options = ["--rows", "7", "--seed", "2", "--hops", "4", "--label-noise", "0.5", "--output", str(target)]
    subprocess.run([sys.executable, str(GENERATE), *options], check=True)
    written = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert written == rows("rows=7,seed=2,hops=4,noise=0.5")
    failed = subprocess.run([sys.executable, str(GENERATE), "--hops", "9"], capture_output=True, text=True)
    assert failed.returncode == 2 and "hops=9: Input should be less than or equal to 4" in failed.stderr
