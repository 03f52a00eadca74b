"""The rows of an update: what is held out, what is replayed, and which labels they have."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhrd.artifact.info import read_info
from dhrd.data.labels import Shares
from dhrd.data.records import Example, LabelSet
from dhrd.errors import ConfigError, DataError
from dhrd.inference.classifier import Classifier
from dhrd.run.update.rows import UpdateRows, UpdateSettings, extended_labels, old_answers, update_rows, with_answers
from dhrd.run.update.start import update_config
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl, rows
from helpers.updates import settings_of, train_old, write_new

LABELS = LabelSet(("keep", "repair", "return"), ("keep it", "repair", "return"), ordered=False)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Path:
    return train_old(tiny_backbone, tmp_path_factory.mktemp("old"))


def read(old: Path, directory: Path, **given: Any) -> UpdateRows:
    settings = settings_of(directory, old, **given)
    return update_rows(settings, update_config(old), read_info(old), kept=directory, device="cpu")


def test_new_rows_and_a_share_of_old_ones(old: Path, tmp_path: Path) -> None:
    found = read(old, tmp_path, replay_share=0.25)
    train = found.train.load()
    assert (found.num_new, found.num_replayed, len(train)) == (13, 4, 17)
    assert found.labels.names == ("keep", "repair", "return", "refund")
    new, replayed = (
        {row["id"] for row in read_jsonl(path)} for path in (tmp_path / "new.jsonl", old.parent / "train.jsonl")
    )
    assert {e.id for e in train[:13]} | {e.id for e in found.eval_new} == new
    assert {e.id for e in train[13:]} | {e.id for e in found.eval_old} < replayed
    assert not {e.id for e in train} & {e.id for e in (*found.eval_new, *found.eval_old)}
    assert any(e.rationale for e in train)
    assert [e.id for e in read(old, tmp_path, replay_share=0.25).train.load()] == [e.id for e in train], "by the seed"


def test_rows_to_judge_by_that_are_given_leave_the_others_whole(old: Path, tmp_path: Path) -> None:
    given = {name: str(write_jsonl(tmp_path / f"{name}.jsonl", rows(6))) for name in ("eval_new", "eval_old")}
    found = read(old, tmp_path, **given, replay_share=0.9)
    assert [e.id for e in found.eval_new] == [e.id for e in found.eval_old] == [f"r{i}" for i in range(6)]
    assert (found.num_new, found.num_replayed) == (16, 14), "all old rows, but for the six that are judged by"


def test_old_rows_with_the_text_of_a_new_one_are_not_replayed(
    old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = [row | {"label": "refund"} for row in rows(20)]
    new = write_jsonl(tmp_path / "changed.jsonl", changed)
    with caplog.at_level(logging.WARNING, "dhrd"):
        others = write_jsonl(tmp_path / "others.jsonl", rows(30)[20:])
        found = read(old, tmp_path, new=str(new), eval_old=str(others), replay_share=0.9)
    assert {example.label for example in found.train.load()} == {"refund"} and not found.num_replayed
    assert "with the text of a new or a held-out row are left out" in caplog.text


def test_old_rows_with_the_text_of_a_new_one_judge_nothing(
    old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a row is trained on, perhaps with another label: it flatters the gate, or is held against it."""
    given = write_jsonl(tmp_path / "given.jsonl", [*rows(5), *rows(30)[25:]])
    new = write_jsonl(tmp_path / "changed.jsonl", [row | {"label": "refund"} for row in rows(20)])
    found = read(old, tmp_path, new=str(new), eval_old=str(given))
    assert [e.id for e in found.eval_old] == [f"r{i}" for i in range(25, 30)]
    assert "5 old rows of the gate have the text of a new row and are left out" in caplog.text
    with pytest.raises(DataError, match="every old row of the gate has the text of a new row; give `eval_old`"):
        read(old, tmp_path, new=str(new))


def test_new_rows_that_are_trained_on_judge_nothing(
    old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would show how well the new rows were learned by heart."""
    given = write_jsonl(tmp_path / "given.jsonl", [*rows(105)[100:], *rows(30)[27:]])
    found = read(old, tmp_path, eval_new=str(given))
    assert [e.id for e in found.eval_new] == ["r27", "r28", "r29"] and found.num_new == 16
    assert "5 new rows of the gate have the text of a row that is trained on and are left out" in caplog.text
    told = "every new row of the gate has the text of a row that is trained on; give `eval_new` with other texts"
    with pytest.raises(DataError, match=told):
        read(old, tmp_path, eval_new=str(tmp_path / "new.jsonl"))
    twice = [row | {"id": f"{row['id']}-{time}"} for row in rows(124)[100:] for time in range(2)]
    drawn = read(old, tmp_path, new=str(write_jsonl(tmp_path / "twice.jsonl", [*twice, *rows(90)[50:]])))
    trained = {e.input_text for e in drawn.train.load()}
    assert drawn.eval_new and not trained & {e.input_text for e in drawn.eval_new}


def test_columns_of_other_names_are_read_as_the_artifact_reads_them(tmp_path: Path, tiny_backbone: Path) -> None:
    directory = tmp_path / "mapped"
    directory.mkdir()
    mapped = [{"id": r["id"], "mail": r["input_text"], "outcome": r["label"]} for r in rows(40)]
    write_jsonl(directory / "mapped.jsonl", mapped[:20])
    write_jsonl(tmp_path / "november.jsonl", mapped[20:])
    columns = "data.columns={input_text: mail, label: outcome}"
    given = [f"data.train={directory / 'mapped.jsonl'}", "data.validation=null", columns, "loss.reasoning_weight=0"]
    old = train_old(tiny_backbone, directory, *given)
    found = read(old, tmp_path, new=str(tmp_path / "november.jsonl"), replay=str(directory / "mapped.jsonl"), kl=0.5)
    train = found.train.load()
    assert {type(found.labels.shares(e.label or "")) for e in train[-found.num_replayed :]} == {tuple}
    assert {found.labels.named(e.label or "") for e in train[: found.num_new]} == {"keep", "repair", "return"}
    assert all(e.input_text.startswith("case") for e in train)


def test_replayed_rows_may_have_none_of_several_labels(tiny_backbone: Path, tmp_path: Path) -> None:
    directory = tmp_path / "several"
    directory.mkdir()
    several = [{**row, "label": [str(row["label"])] if number % 3 else []} for number, row in enumerate(rows(40))]
    write_jsonl(directory / "old.jsonl", several[:20])
    write_jsonl(tmp_path / "november.jsonl", several[20:])
    given = [f"data.train={directory / 'old.jsonl'}", "data.validation=null", "loss.reasoning_weight=0"]
    old = train_old(tiny_backbone, directory, *given)
    files = {"new": str(tmp_path / "november.jsonl"), "replay": str(directory / "old.jsonl")}
    replayed = read(old, tmp_path, **files, kl=0.5).train.load()
    assert all(isinstance(row.label, Shares) for row in replayed[-4:])


def test_replayed_rows_are_taught_the_old_answer_beside_their_label(old: Path, tmp_path: Path) -> None:
    plain, taught = (read(old, tmp_path, kl=kl) for kl in (0.0, 0.25))
    before, after = (found.train.load()[found.num_new :] for found in (plain, taught))
    assert [e.id for e in before] == [e.id for e in after]
    answers_BC = Classifier.from_pretrained(old, device="cpu", dtype=None).predict_proba(before)
    for hard, soft, answer_C in zip(before, after, answers_BC, strict=True):
        own_C = np.eye(3)[LABELS.names.index(str(hard.label))]
        shares = taught.labels.shares(soft.label or "")
        assert shares is not None
        np.testing.assert_allclose(shares, [*(0.75 * own_C + 0.25 * answer_C), 0], atol=1e-5)


def test_the_old_answers_are_computed_once(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = read(old, tmp_path).eval_old
    first_BC = old_answers(old, examples, kept=tmp_path, device="cpu")
    monkeypatch.setattr(Classifier, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    assert np.array_equal(old_answers(old, examples, kept=tmp_path, device="cpu"), first_BC)
    with pytest.raises(pytest.fail.Exception):
        old_answers(old, examples[:2], kept=tmp_path, device="cpu")


def test_shares_of_several_labels_stay_each_ones_own() -> None:
    labels = LabelSet(("a", "b"), multi_label=True)
    mixed = with_answers([Example(label=("a",))], np.array([[0.5, 0.5]]), labels, 0.5)
    assert labels.shares(mixed[0].label or "") == (0.75, 0.25)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["return", "keep"], ()),
        (["zebra", "apple", "keep"], ("apple", "zebra")),
        ([{"keep": 0.5, "refund": 0.5}], ("refund",)),
    ],
)
def test_labels_that_are_new_come_behind_the_old_ones(given: list[Any], names: tuple[str, ...]) -> None:
    labels = extended_labels(LABELS, [Example(label=label) for label in given])
    assert (labels.names, labels.words) == ((*LABELS.names, *names), (*LABELS.words, *names))


def test_an_integer_is_the_place_that_it_was(tmp_path: Path) -> None:
    ordered = LabelSet(("no", "yes"))
    assert extended_labels(ordered, [Example(label=1), Example(label="no")]) == ordered
    assert extended_labels(ordered, [Example(label="maybe")]).names == ("no", "yes", "maybe")


@pytest.mark.parametrize("label", ["Return", "return ", "RETURN"])
def test_another_spelling_of_a_label_is_told(old: Path, label: str, tmp_path: Path) -> None:
    if label == "return ":  # space around a name is none of it
        assert extended_labels(LABELS, [Example(label=label)]) == LABELS
        return
    write = write_new(tmp_path / "odd.jsonl", label=label)
    with pytest.raises(DataError, match=f"differ only in case or space: 'return' .* and '{label}'"):
        read(old, tmp_path, new=str(write))


def test_old_rows_have_old_labels(old: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'refund' is unknown; labels are"):
        read(old, tmp_path, replay=str(write_new(tmp_path / "replay.jsonl")))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"replay_share": 1.0}, "`replay_share` 1.0: give a share"),
        ({"eval_share": 0.0}, "`eval_share` 0.0: give a share"),
        ({"kl": 2.0}, "`kl` 2.0: give a number from 0 to 1"),
        ({"max_regression": -0.1}, "`max_regression` -0.1: give a number"),
        ({"replay": None, "kl": 0.5, "eval_old": "x"}, "`kl` applies to replayed rows"),
        ({"replay": None}, "there are no old rows to measure what the update forgets"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], problem: str) -> None:
    whole = {"model": Path("old"), "new": "new.jsonl", "output": Path("new"), "replay": "old.jsonl"}
    with pytest.raises(ConfigError, match=problem):
        UpdateSettings(**whole | given)


def test_no_group_is_trained_on_and_judged_by(old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same customers write old and new mail, each text of its own."""
    new, replay = (
        write_jsonl(
            tmp_path / f"{name}.jsonl",
            [row | {"input_text": f"{name} {i}", "group": f"customer {i % 10}"} for i, row in enumerate(rows(40))],
        )
        for name in ("those", "these")
    )
    found = read(old, tmp_path, new=str(new), replay=str(replay), replay_share=0.9)
    trained = {example.group for example in found.train.load()}
    assert found.eval_new and found.eval_old and found.num_replayed
    assert not trained & {example.group for example in (*found.eval_new, *found.eval_old)}
    judged = write_jsonl(
        tmp_path / "judged.jsonl", [row | {"group": f"customer {i}"} for i, row in enumerate(rows(30)[20:])]
    )
    given = read(old, tmp_path, new=str(new), replay=str(replay), eval_old=str(judged), replay_share=0.9)
    assert not {example.group for example in given.train.load()} & {example.group for example in given.eval_old}
    assert "old rows of the gate have the group of a row that is trained on and are left out" in caplog.text
