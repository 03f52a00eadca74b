"""Labels as votes or probabilities, and rows that weigh: the same from every format, through a whole run."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from safetensors.torch import load_file

import dhrd
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import add_label_noise, label_mass, load_rows
from dhrd.data.split import split_dev
from dhrd.errors import DataError
from dhrd.experiments.cells import hash_rows
from dhrd.rationales.audit.audit import audit_rationales
from dhrd.run.decide import decide
from dhrd.run.evaluate import evaluate
from dhrd.run.predict.predict import predict_to
from dhrd.run.train import TrainResult
from helpers.reading import labelled, refused, refused_by_run, run_rows, warnings_of
from helpers.rows import write_jsonl
from helpers.runs import Recorder, Stop, make_config, read_jsonl, rows

VOTES: list[dict[str, Any]] = [
    {"input_text": "a", "label": {"refund": 7, "exchange": 3}, "weight": 2},
    {"input_text": "b", "label": {"exchange": 0.25, "keep": 0.75}, "weight": 0.5},
    {"input_text": "c", "label": {"keep": 4}, "weight": 1},
]
SHARES = [(0.3, 0.0, 0.7), (0.25, 0.75, 0.0), (0.0, 1.0, 0.0)]


def as_delimited(directory: Path, kind: str, **options: Any) -> Path:
    path = directory / f"rows.{kind}"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, **options)
        writer.writerow(VOTES[0])
        writer.writerows([row["input_text"], json.dumps(row["label"]), row["weight"]] for row in VOTES)
    return path


def as_map(directory: Path) -> Path:
    labels = pyarrow.array(
        [list(row["label"].items()) for row in VOTES], pyarrow.map_(pyarrow.string(), pyarrow.float64())
    )
    table = pyarrow.table({"input_text": list("abc"), "label": labels, "weight": [2.0, 0.5, 1.0]})
    pyarrow.parquet.write_table(table, directory / "map.parquet")
    return directory / "map.parquet"


def as_struct(directory: Path) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(VOTES), directory / "struct.parquet")
    return directory / "struct.parquet"


FORMS: dict[str, Callable[[Path], Any]] = {
    "jsonl": lambda directory: write_jsonl(directory / "rows.jsonl", VOTES),
    "csv": lambda directory: as_delimited(directory, "csv"),
    "tsv": lambda directory: as_delimited(directory, "tsv", delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None),
    "struct": as_struct,
    "map": as_map,
    "python": lambda _: VOTES,
    "examples": lambda _: [Example(**{**row, "weight": float(row["weight"])}) for row in VOTES],
    "pandas": lambda _: pd.DataFrame(VOTES),
    "dataset": lambda _: datasets.Dataset.from_list(VOTES),
}


@pytest.mark.parametrize("form", FORMS)
def test_shares_and_weights_are_the_same_from_every_format(form: str, tmp_path: Path) -> None:
    found = run_rows(FORMS[form](tmp_path))
    assert found.labels.names == ("exchange", "keep", "refund")
    assert not found.labels.multi_label
    assert [row.label for row in found.train] == ["refund", "keep", "keep"]
    assert [row.shares for row in found.train] == SHARES
    assert [row.weight for row in found.train] == [2, 0.5, 1]


def test_a_name_in_braces_is_a_name() -> None:
    names = ["{a}", "{ b", "{'c': 1}"]
    assert [row.label for row in run_rows(labelled(*names, *names)).train[:3]] == names


def test_they_stand_beside_names_and_rows_without_a_weight() -> None:
    found = run_rows([*VOTES, {"input_text": "d", "label": "repair"}])
    assert found.labels.names == ("exchange", "keep", "refund", "repair")
    assert (found.train[3].shares, found.train[3].weight) == (None, 1)
    assert label_mass(found.train, found.labels).tolist() == pytest.approx([0.725, 1.375, 1.4, 1])


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"a": -1, "b": 2}, "label: the share of 'a' is -1, not a number of at least 0; correct the row"),
        ({"a": math.nan, "b": 2}, "label: the share of 'a' is nan, not a number"),
        ({"a": np.float32("nan"), "b": 2}, "not a number"),
        ({"a": Decimal("NaN"), "b": 2}, "not a number"),
        ({"a": math.inf}, "label: the share of 'a' is inf, not a number"),
        ({"a": 10**400}, "not a number"),
        ({"a": True}, "label: the share of 'a' is True, not a number"),
        ({"a": "0.5"}, "label: the share of 'a' is '0.5', not a number"),
        ({"a": {"b": 1}}, "label: the share of 'a' is {'b': 1}, not a number"),
        ({"a": 1, " a": 2}, "has 'a' twice; name it once"),
        ({"": 1}, "has an empty name"),
        ({}, "label: missing"),
        ({"a": None}, "label: missing"),
        ('{"a": NaN}', "label: the share of 'a' is nan, not a number"),
        ('{"a\\ud83d": 1}', "has half of a surrogate pair"),
        ('{"a": 0.7, "b" 0.3}', """label: '{"a": 0.7, "b" 0.3}' is not valid JSON (Expecting ':' delimiter"""),
        ('{"a": [1]}', "label: the share of 'a' is [1], not a number"),
        ({3.5: 1}, "neither an integer, a name, nor a list of names"),
    ],
)
def test_bad_shares_are_one_line_that_names_the_row(label: Any, message: str) -> None:
    error = refused([{"input_text": "x", "label": {"a": 1, "b": 2}}, {"input_text": "y", "label": label}])
    assert error.startswith("row 1: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"a": 0, "b": 0.0}, "row 2: label: all shares are 0; give one of them a vote"),
        ({"a": 1, "z": 2}, "row 2: label: 'z' is unknown; labels are 'a', 'b'"),
    ],
)
def test_shares_that_fit_no_label_set(label: Any, message: str) -> None:
    assert message in refused_by_run([*labelled("a", "b"), *labelled(label)[:1]], data__labels=["a", "b"]).replace(
        "row 0: label: all", "row 2: label: all"
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-1, "weight: -1 is not a number of at least 0"),
        (math.nan, "weight: missing in 'weight'"),
        (None, "weight: missing in 'weight'; fill it in (1 counts as one row)"),
        ("", "weight: missing"),
        (math.inf, "weight: inf is not a number of at least 0"),
        ("heavy", "weight: 'heavy' is not a number of at least 0; correct it, or rename the column"),
        (True, "weight: True is not a number"),
        ([1], "weight: [1] is not a number"),
        (10**400, "is not a number of at least 0"),
    ],
)
def test_bad_weights_are_one_line_that_names_the_row(weight: Any, message: str) -> None:
    error = refused(
        [{"input_text": "x", "label": "a", "weight": 1}, {"input_text": "y", "label": "b", "weight": weight}]
    )
    assert error.startswith(f"row 1: {message}") or message in error
    assert "\n" not in error


def test_where_a_weight_is_read() -> None:
    given = [{"input_text": "x", "label": "a", "weight": "3 kg"}, {"input_text": "y", "label": "b", "weight": "1 kg"}]
    assert [row.weight for row in run_rows(given, data__input_template="{{ input_text }} {{ weight }}").train] == [1, 1]
    mapped = [{**row, "votes": 5} for row in given]
    assert [row.weight for row in run_rows(mapped, data__columns={"weight": "votes"}).train] == [5, 5]
    assert "weight: there is no column 'votes'" in refused(given, data__columns={"weight": "votes"})
    nothing = [{**row, "weight": 0} for row in given]
    assert refused_by_run(nothing).startswith("weight: 0 in all training rows")


def test_the_likeliest_of_several_alike_is_the_first_in_the_sets_order() -> None:
    given = labelled({"b": 1, "a": 1}, {"a": 2, "b": 2}, "a", "b")
    assert [row.label for row in run_rows(given).train[:2]] == ["a", "a"]
    assert [row.label for row in run_rows(given, data__labels=["b", "a"]).train[:2]] == ["b", "b"]


def test_where_a_row_may_have_several_each_has_its_own_probability() -> None:
    given = labelled({"a": 0.9, "b": 0.5, "c": 0.2}, {"a": 0.1, "b": 0, "c": 0})
    for found in (run_rows([*given, *labelled(["c"])]), run_rows(given, data__multi_label=True)):
        assert found.labels.multi_label
        assert [row.label for row in found.train[:2]] == [("a", "b"), ()]
        assert [row.shares for row in found.train[:2]] == [(0.9, 0.5, 0.2), (0.1, 0, 0)]
    message = refused_by_run([*given, *labelled({"a": 3})], data__multi_label=True)
    assert "row 0: label: 3 is not a probability; for multi-label rows, divide" in message.replace("row 2", "row 0")


def test_doubts_count_rows_that_have_a_share(caplog: pytest.LogCaptureFixture) -> None:
    said = warnings_of(caplog, lambda: run_rows(labelled({"a": 2, "b": 1}, {"a": 3}, "a", {"a": 1, "c": 0})))
    assert said == ["labels: no training row has 'c'"]


def test_noise_and_the_cut_go_by_the_likeliest() -> None:
    labels = LabelSet(("a", "b"))
    spread = [Example(input_text=f"t{n}", label="ab"[n % 2], shares=(0.6, 0.4) if n % 2 == 0 else (0.4, 0.6), id=f"{n}")
              for n in range(40)]  # fmt: skip
    plain = [replace(row, shares=None) for row in spread]
    drawn = add_label_noise(spread, labels, 0.5, 0)
    assert [row.label for row in drawn] == [row.label for row in add_label_noise(plain, labels, 0.5, 0)]
    assert sum(row.shares is None for row in drawn) == 20
    cut = split_dev(spread, 0.25, 0)
    assert [row.id for row in cut[1]] == [row.id for row in split_dev(plain, 0.25, 0)[1]]


def train(backbone: Path, directory: Path, given: list[dict[str, Any]], *overrides: str) -> TrainResult:
    config = make_config(backbone, directory, "training.num_epochs=1", "data.validation=null", *overrides)
    write_jsonl(directory / "train.jsonl", given)
    return dhrd.train(config)


def same_weights(one: TrainResult, other: TrainResult) -> bool:
    first, second = (load_file(result.output_dir / "model.safetensors") for result in (one, other))
    return all(bool((first[name] == second[name]).all()) for name in first)


def test_votes_for_one_label_and_weights_of_one_are_todays_run_bit_for_bit(tiny_backbone: Path, tmp_path: Path) -> None:
    plain = train(tiny_backbone, tmp_path / "plain", rows(20))
    spelled = [{**row, "label": {row["label"]: 3}, "weight": 1.0} for row in rows(20)]
    assert same_weights(plain, train(tiny_backbone, tmp_path / "spelled", spelled))
    spread = [{**row, "label": {row["label"]: 3, "keep": 2}} for row in rows(20)]
    assert not same_weights(plain, train(tiny_backbone, tmp_path / "spread", spread))
    weighed = [{**row, "weight": 1 + number % 2} for number, row in enumerate(rows(20))]
    assert not same_weights(plain, train(tiny_backbone, tmp_path / "weighed", weighed))


def test_all_that_follows_a_run_takes_them(tiny_backbone: Path, tmp_path: Path) -> None:
    """The answer's word, evaluation, a decision, an audit: by the likeliest."""
    spread = [{**row, "label": {row["label"]: 3, "keep": 2}, "weight": 0.5} for row in rows(60)]
    model = train(tiny_backbone, tmp_path, spread, "data.dev_share=0.2", "training.selection=best").output_dir
    data = write_jsonl(tmp_path / "spread.jsonl", [{**row, "input_text": f"new {row['input_text']}"} for row in spread])
    named = [{**row, "input_text": f"new {row['input_text']}"} for row in rows(60)]
    plain = write_jsonl(tmp_path / "plain.jsonl", named)
    found, expected = evaluate(model, str(data)), evaluate(model, str(plain))
    assert found.metrics == expected.metrics
    assert decide(model, str(data), sets=0.5) == decide(model, str(plain), sets=0.5)
    assert decide(model, sets=0.5).decision.num_rows == 12
    reasons = [{name: row[name] for name in ("id", "rationale")} for row in rows(60) if "rationale" in row]
    file = write_jsonl(tmp_path / "why.jsonl", reasons)
    audits = [audit_rationales(file, str(path)) for path in (data, plain)]
    assert audits[0].leak == audits[1].leak
    predicted = tmp_path / "p.jsonl"
    predict_to(predicted, model, str(data))
    assert len(read_jsonl(predicted)) == 60


def test_shares_and_weights_are_part_of_what_a_run_is(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path)
    plain, seen = load_rows(config), set()
    spread = plain.labels.shares({"keep": 1, "return": 1})
    for change in ({}, {"shares": spread}, {"weight": 2.0}, {"shares": spread, "weight": 2.0}):
        changed = replace(plain, train=[replace(plain.train[0], **change), *plain.train[1:]])
        seen.add(hash_rows(changed, config))
    assert len(seen) == 4


@pytest.mark.parametrize("change", [{"weight": 3}, {"label": {"keep": 2, "return": 1}}])
def test_a_run_is_not_gone_on_with_after_a_change(change: dict[str, Any], tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.batch_size=4", "training.save_steps=2")
    with pytest.raises(Stop):
        dhrd.train(config, device="cpu", callbacks=[Recorder(fail_at=7)])
    given = rows(20)
    write_jsonl(tmp_path / "train.jsonl", [{**given[0], **change}, *given[1:]])
    with pytest.raises(dhrd.CheckpointError, match="these are not as they were: the training rows"):
        dhrd.train(config, device="cpu", checkpoint=config.output_dir)
    write_jsonl(tmp_path / "train.jsonl", given)
    dhrd.train(config, device="cpu", checkpoint=config.output_dir)


def test_an_unknown_label_of_the_reader_is_told_with_its_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "v.jsonl", [{"input_text": "a", "label": {"refund": 1, "retour": 1}}])
    with pytest.raises(DataError, match=r"v\.jsonl:1: label: 'retour' is unknown"):
        run_rows(VOTES, str(path))
