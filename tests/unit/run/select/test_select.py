"""Rows are chosen by what the model says of them, leave their columns as they are, and can be asked for."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from dhrd import Classifier
from dhrd.config import load_config
from dhrd.data.rows import load_rows
from dhrd.errors import ConfigError, DataError
from dhrd.run.select import select as module
from dhrd.run.select.select import (
    Selection,
    select_at_random,
    select_for_labels,
    select_for_rationales,
    select_out_of_fold,
    write_selected,
)
from dhrd.run.select.strategies import SelectionQuery
from dhrd.run.train import train
from helpers.artifacts import TASKS, save_tiny
from helpers.rows import write_jsonl
from helpers.runs import make_config, read_jsonl, rows, settings, write_rows

CPU = {"device": "cpu", "dtype": "float32"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def pool_of(tmp_path: Path, count: int = 40, **more: Any) -> Path:
    made = [{"id": f"p{i}", "input_text": f"the case {i * 37 % 101} of {i}", "ward": i % 3} for i in range(count)]
    return write_jsonl(tmp_path / "pool.jsonl", [{**row, **more} for row in made])


def chosen(selection: Selection) -> list[str]:
    return [row.example.id for row in selection.rows if row.by != "random"]


def test_the_rows_with_the_least_margins_are_chosen(model: Path, tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    selection = select_for_labels(model, pool, SelectionQuery(num_rows=20, strategy="margin"), **CPU)
    lines = read_jsonl(pool)
    two = np.sort(Classifier.from_pretrained(model, **CPU).predict_proba([row["input_text"] for row in lines]))[:, -2:]
    score = dict(zip([row["id"] for row in lines], 1 - (two[:, 1] - two[:, 0]), strict=True))
    drawn = {row.example.id: row.inclusion_probability for row in selection.rows if row.by == "random"}
    assert drawn == dict.fromkeys(drawn, 2 / 40) and len(drawn) == 2
    assert chosen(selection) == sorted(score.keys() - drawn, key=lambda name: -score[name])[:18]
    assert [row.score for row in selection.rows] == pytest.approx([score[row.example.id] for row in selection.rows])


@pytest.mark.parametrize("strategy", ["random", "margin", "diverse", "badge"])
def test_the_seed_decides(model: Path, tmp_path: Path, strategy: str) -> None:
    pool = pool_of(tmp_path)
    first, again, other = (
        select_for_labels(model, pool, SelectionQuery(num_rows=10, strategy=strategy, seed=seed), **CPU)
        for seed in (1, 1, 2)
    )
    ids = [[row.example.id for row in selection.rows] for selection in (first, again, other)]
    assert ids[0] == ids[1] != ids[2] and len({*ids[0]}) == 10
    assert {row.by for row in first.rows} == {"random", strategy}


def test_the_output_has_the_rows_as_they_are(model: Path, tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    selection = select_for_labels(model, pool, SelectionQuery(num_rows=10, strategy="badge"), **CPU)
    write_selected(selection, tmp_path / "ask.jsonl")
    written, given = read_jsonl(tmp_path / "ask.jsonl"), {row["id"]: row for row in read_jsonl(pool)}
    own = ("selected_by", "score", "inclusion_probability")
    assert [{name: row[name] for name in row if name not in own} for row in written] == [
        given[r["id"]] for r in written
    ]
    assert [row["selected_by"] for row in written].count("random") == 1
    assert all((row["inclusion_probability"] == 1 / 40) == (row["selected_by"] == "random") for row in written)


def test_columns_that_json_lacks_are_text(model: Path, tmp_path: Path) -> None:
    texts, dates = ["one case", "another case"], [date(2025, 11, day) for day in (1, 2)]
    pyarrow.parquet.write_table(pyarrow.table({"input_text": texts, "on": dates}), tmp_path / "pool.parquet")
    selection = select_for_labels(model, tmp_path / "pool.parquet", SelectionQuery(num_rows=2), **CPU)
    write_selected(selection, tmp_path / "ask.jsonl")
    written = {row["input_text"]: row for row in read_jsonl(tmp_path / "ask.jsonl")}
    assert written["another case"]["on"] == "2025-11-02" and len({row["id"] for row in written.values()}) == 2


def test_what_is_known_is_not_asked_for(model: Path, tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    first = select_for_labels(model, pool, SelectionQuery(num_rows=30, strategy="margin"), **CPU)
    write_selected(first, tmp_path / "asked.jsonl")
    query = SelectionQuery(num_rows=10, strategy="margin", exclude=(tmp_path / "asked.jsonl",))
    second = select_for_labels(model, pool, query, **CPU)
    assert not {r.example.id for r in first.rows} & {r.example.id for r in second.rows}
    assert second.pool.num_excluded == 30
    with pytest.raises(DataError, match="`num_rows=11`: only 10 of the pool's 40 rows can be selected"):
        select_for_labels(model, pool, SelectionQuery(num_rows=11, exclude=query.exclude), **CPU)


def test_a_column_of_a_selection_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pool.jsonl:1: has a column score"):
        select_for_labels(model, pool_of(tmp_path, score=1), SelectionQuery(num_rows=3), **CPU)


@pytest.mark.parametrize(
    ("given", "problem"),
    [({"num_rows": 0}, "num_rows"), ({"num_rows": 3, "strategy": "best"}, "`strategy=best`: unknown; give one of")],
)
def test_a_query_that_means_nothing_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        SelectionQuery(**given)


def test_out_of_fold_the_rows_that_are_got_wrong_come_first(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tiny_backbone, tmp_path, "data.dev_share=0.2")
    gold = {row["id"]: row for row in rows(20)}

    def knows(config: Any, rows: Any, **_: Any) -> np.ndarray:
        assert config.loss.names == ("classification",) and config.data.dev_share == 0
        sure = np.linspace(0.05, 0.95, len(rows.train))
        right = [rows.labels.names.index(str(example.label)) for example in rows.train]
        result = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
        result[np.arange(len(right)), right] = sure
        return result

    monkeypatch.setattr(module, "out_of_fold", knows)
    selection = select_out_of_fold(config, SelectionQuery(num_rows=4, strategy="margin"))
    bare = [f"r{number}" for number in range(20) if "rationale" not in gold[f"r{number}"]]
    assert selection.pool.num_excluded == 20 - len(bare)
    drawn = {row.example.id for row in selection.rows} - {*chosen(selection)}
    assert len(drawn) == 1 and chosen(selection) == [row for row in bare if row not in drawn][:3]
    assert all(row.example.label == gold[row.example.id]["label"] for row in selection.rows)


def test_out_of_fold_is_trained_without_rationales(tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path, num_train=24, reasoned=0.0)
    config = load_config(overrides=settings(tiny_backbone, tmp_path, "training.num_epochs=1"))
    with pytest.raises(DataError, match="no training row has a rationale"):
        load_rows(config)
    selection = select_out_of_fold(config, SelectionQuery(num_rows=6, strategy="margin"), num_folds=2, device="cpu")
    assert len(selection.rows) == 6 and all(0 < row.score < 1 for row in selection.rows)
    assert chosen(selection) == sorted(
        chosen(selection), key=lambda name: -next(row.score for row in selection.rows if row.example.id == name)
    )


def test_a_model_reads_labelled_rows_that_it_did_not_see(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1")
    train(config, device="cpu")
    out, query = tmp_path / "out", SelectionQuery(num_rows=3, strategy="margin")
    with pytest.raises(DataError, match=r"the model was trained on 5 of the 5 rows.*give `folds` instead of `model`"):
        select_for_rationales(out, tmp_path / "train.jsonl", query, **CPU)
    new = write_jsonl(tmp_path / "new.jsonl", [{**row, "input_text": f"new {row['input_text']}"} for row in rows(20)])
    selection = select_for_rationales(out, new, query, **CPU)
    classifier = Classifier.from_pretrained(out, **CPU)
    for row in selection.rows:
        assert not row.example.fields.get("rationale")
        p = dict(zip(classifier.labels.names, classifier.predict_proba([row.example])[0], strict=True))
        assert row.score == pytest.approx(1 - p[str(row.example.label)], abs=1e-5)


def test_rows_whose_rationale_lies_in_a_file_are_not_asked_for(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A rationale that is there is not paid for again, whoever reads the rows."""
    write_rows(tmp_path, reasoned=0.0)
    reasoned = write_jsonl(tmp_path / "reasons.jsonl", [{"id": f"r{i}", "rationale": "so"} for i in range(15)])
    given = ["training.num_epochs=1", f"data.rationales={reasoned}"]
    config, query = load_config(overrides=settings(tiny_backbone, tmp_path, *given)), SelectionQuery(num_rows=5)
    bare = {f"r{i}" for i in range(15, 20)}
    assert {row.example.id for row in select_at_random(config, query, for_rationales=True).rows} == bare
    with pytest.raises(DataError, match="`num_rows=6`: only 5 of the pool's 20 rows can be selected"):
        select_at_random(config, SelectionQuery(num_rows=6), for_rationales=True)
    model = train(config, device="cpu").output_dir
    pool = write_jsonl(tmp_path / "pool.jsonl", [row | {"id": f"p{row['id']}"} for row in rows(60, reasoned=0)[40:]])
    others = write_jsonl(tmp_path / "others.jsonl", [{"id": f"pr{i}", "rationale": "so"} for i in range(40, 55)])
    others_config = config.model_copy(update={"data": config.data.model_copy(update={"rationales": str(others)})})
    selection = select_for_rationales(model, pool, query, config=others_config, **CPU)
    assert {row.example.id for row in selection.rows} == {f"pr{i}" for i in range(55, 60)}
    assert len(select_for_rationales(model, pool, SelectionQuery(num_rows=20), **CPU).rows) == 20
    told = "the rationales that the model was trained with are not looked at: "
    assert f"{told}{reasoned}: none of its 15 ids" in caplog.text


def test_one_of_several_tasks_is_asked_for(tmp_path: Path) -> None:
    model, pool = save_tiny(tmp_path / "model", labels=TASKS), pool_of(tmp_path)
    texts = {row["id"]: row["input_text"] for row in read_jsonl(pool)}
    p_NC = Classifier.from_pretrained(model, **CPU).predict_proba(list(texts.values()))
    first, second = np.sort(p_NC[:, :3])[:, [-1, -2]].T
    doubt = {"what": 1 - (first - second), "tags": 1 - np.abs(2 * p_NC[:, 3:] - 1).min(axis=1)}
    for task, doubt_N in doubt.items():
        selection = select_for_labels(model, pool, SelectionQuery(num_rows=20, strategy="margin", task=task), **CPU)
        score = dict(zip(texts, doubt_N, strict=True))
        drawn = {row.example.id for row in selection.rows if row.by == "random"}
        assert chosen(selection) == sorted(score.keys() - drawn, key=lambda name: -score[name])[:18]
    with pytest.raises(ConfigError, match="this model has several tasks; give `task`, one of what, tags"):
        select_for_labels(model, pool, SelectionQuery(num_rows=20), **CPU)


def test_rationales_for_a_task_are_of_rows_with_its_label(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "model", labels=TASKS)
    lines = [{"id": f"r{i}", "input_text": f"case {i}", "tags": [["even"], ["odd"], []][i % 3]} for i in range(12)]
    for i, line in enumerate(lines):
        line |= {"what": "mail"} if i % 2 else {}
    given = write_jsonl(tmp_path / "rows.jsonl", lines)
    classifier = Classifier.from_pretrained(model, **CPU)
    for task, asked in (("what", lines[1::2]), ("tags", lines)):
        query = SelectionQuery(num_rows=len(asked), strategy="margin", task=task)
        selection = select_for_rationales(model, given, query, **CPU)
        assert {row.example.id for row in selection.rows} == {row["id"] for row in asked}
        for row in selection.rows:
            p = dict(zip(TASKS.names, classifier.predict_proba([row.example.input_text])[0], strict=True))
            own = [p["what/mail"]] if task == "what" else [
                p[f"tags/{name}"] if name in row.example.fields["tags"] else 1 - p[f"tags/{name}"]
                for name in ("even", "odd")
            ]  # fmt: skip
            assert row.score == pytest.approx(1 - min(own), abs=1e-5)
    with pytest.raises(
        DataError, match=r"only 6 of the pool's 12 rows can be selected.*with a label and without a rationale"
    ):
        select_for_rationales(model, given, SelectionQuery(num_rows=7, task="what"), **CPU)


def test_out_of_fold_of_a_task(tiny_backbone: Path, tmp_path: Path) -> None:
    tasks = "tasks={what: {column: label}, late: {}}"
    lines = [{**row, "late": ("yes", "no")[i // 2 % 2]} for i, row in enumerate(rows(24, reasoned=0.0))]
    for line in lines[::3]:
        del line["late"]
    write_jsonl(tmp_path / "train.jsonl", lines)
    config = load_config(overrides=settings(tiny_backbone, tmp_path, tasks, "training.num_epochs=1"))
    query = SelectionQuery(num_rows=16, strategy="margin", task="late")
    selection = select_out_of_fold(config, query, num_folds=2, device="cpu")
    assert {row.example.id for row in selection.rows} == {line["id"] for line in lines if "late" in line}
    assert all(0 < row.score < 1 for row in selection.rows)
    with pytest.raises(ConfigError, match="give `task`, one of what, late"):
        select_out_of_fold(config, SelectionQuery(num_rows=3), num_folds=2, device="cpu")


def test_strategies_for_labels_choose_no_rationales(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="for rationales give random or margin"):
        select_for_rationales(model, pool_of(tmp_path, label="bill"), SelectionQuery(num_rows=3, strategy="badge"))


def test_a_share_of_rationales_hides_no_row_that_has_one(tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path, num_train=24, reasoned=0.5)
    share = ("training.num_epochs=1", "data.rationale_share=0.25")
    config = load_config(overrides=settings(tiny_backbone, tmp_path, *share))
    bare = {row["id"] for row in read_jsonl(tmp_path / "train.jsonl") if not row.get("rationale")}
    query = SelectionQuery(num_rows=len(bare), strategy="margin")
    selection = select_out_of_fold(config, query, num_folds=2, device="cpu")
    assert {row.example.id for row in selection.rows} == bare


def test_known_rows_are_divided_as_the_pool_is(tiny_backbone: Path, tmp_path: Path) -> None:
    lines = ["id;input_text;note, long", *(f"r{i};case {i};so, so" for i in range(6))]
    pool, known = tmp_path / "pool.csv", tmp_path / "known.csv"
    pool.write_text("\n".join(lines))
    known.write_text("\n".join(lines[:3]))
    config = load_config(overrides=[f"data.train={pool}", "data.csv_delimiter=;"])
    query = SelectionQuery(num_rows=4, exclude=(known,))
    assert {row.example.id for row in select_at_random(config, query).rows} == {"r2", "r3", "r4", "r5"}
