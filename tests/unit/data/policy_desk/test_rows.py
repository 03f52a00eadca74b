"""Mail to the returns desk: what is the same and what differs by spec, splits that share no sentence, labels, leaks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dhrd.config import DataSettings
from dhrd.data.policy_desk import LABELS, REASONS
from dhrd.data.records import Example
from dhrd.data.sources import open_source
from dhrd.errors import DataError
from helpers.policy_desk import column, read_off, rows

GENERATE = Path(__file__).parents[4] / "examples" / "policy_desk" / "generate.py"


def load(spec: str, split: str = "train") -> list[Example]:
    return open_source(f"policy_desk:{spec}", DataSettings(), split=split).load()


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
    found = rows(f"rows=40,{spec}", split)
    text = json.dumps([{name: value for name, value in row.items() if name != "reason"} for row in found])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[spec, split]


def test_fewer_rows_are_the_first_of_more_and_another_seed_has_others() -> None:
    assert rows("rows=10") == rows("rows=30")[:10]
    assert not set(column(rows("rows=50"), "input_text")) & set(column(rows("rows=50,seed=1"), "input_text"))


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


def test_the_reason_is_the_rule_that_decided() -> None:
    noisy = rows("rows=200,hops=4,noise=0.5,rationale_of=given")
    assert column(noisy, "reason") == [read_off(row["input_text"]).reason for row in noisy]
    assert set(column(noisy, "reason")) == set(REASONS)
    assert column(noisy, "reason") == column(rows("rows=200,hops=4"), "reason")


def test_a_rationale_of_the_given_label_misreads_the_facts() -> None:
    true, given = rows("rows=300,noise=0.5"), rows("rows=300,noise=0.5,rationale_of=given")
    for name in ("input_text", "label", "true_label"):
        assert column(true, name) == column(given, name)
    for one, other in zip(true, given, strict=True):
        assert (one["rationale"] == other["rationale"]) == (one["label"] == one["true_label"])


def test_a_changed_window_changes_the_labels_of_clothing_by_its_days() -> None:
    before, after = rows("rows=400,hops=2"), rows("rows=400,hops=2,clothing_days=20")
    assert column(before, "id") == column(after, "id")
    stated = [str(row["rationale"]) for row in after if "for clothing" in str(row["rationale"])]
    assert len(stated) > 20 and all("20 days for clothing" in text for text in stated)
    assert not any("60 days for clothing" in str(row["rationale"]) for row in after)


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
        ("clothing_days=5", "train", "clothing_days=5: Input should be greater than or equal to 10"),
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
    table = tmp_path / "rows.csv"
    subprocess.run([sys.executable, str(GENERATE), *options[:-1], str(table)], check=True)
    read = open_source(table, DataSettings()).load()
    assert [dict(example.fields) for example in read] == written
    failed = subprocess.run([sys.executable, str(GENERATE), "--hops", "9"], capture_output=True, text=True)
    assert failed.returncode == 2 and "hops=9: Input should be less than or equal to 4" in failed.stderr
    some = ["--rows", "2", "--columns", "label,input_text"]
    done = subprocess.run([sys.executable, str(GENERATE), *some], check=True, capture_output=True, text=True)
    assert [list(json.loads(line)) for line in done.stdout.splitlines()] == [["label", "input_text"]] * 2
    failed = subprocess.run([sys.executable, str(GENERATE), "--columns", "text"], capture_output=True, text=True)
    assert failed.returncode == 2 and "no column 'text'; there are id, input_text, label" in failed.stderr
