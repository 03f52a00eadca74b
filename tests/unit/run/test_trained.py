"""Which rows training held out, and which it was on: known by their texts, from the artifact or read again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import dhrd
from dhrd import ConfigError, DataError
from dhrd.artifact.known_rows import TRAINED
from dhrd.data.digest import digest_of
from dhrd.run.rows import rows_of
from dhrd.run.trained import backbone_digests, held_out_rows, num_trained, refuse_trained_rows, telling_trained
from helpers.artifacts import change
from helpers.rows import write_jsonl
from helpers.runs import make_config, rows


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rows")
    config = make_config(tiny_backbone, directory, "training.num_epochs=1", "data.validation_limit=5")
    return dhrd.train(config).output_dir


def test_what_training_held_out(artifact: Path, tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the run held out none: .* or train with data\.dev_share"):
        held_out_rows(artifact)
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "data.dev_share=0.3")
    chosen = {row.id for row in held_out_rows(artifact, config)}
    assert len(chosen) == 6  # 0.3 of 20
    assert chosen < {row["id"] for row in rows(20)}


def test_rows_that_were_trained_on_are_told(artifact: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By their text, whatever file they stand in and whatever else they hold; all rows come through as they are."""
    seen = [{"input_text": f"  {row['input_text']} ", "label": "yes", "id": f"other-{row['id']}"} for row in rows(3)]
    new = [{"input_text": f"never read {number}", "label": "no"} for number in range(4)]
    for given, num_known in ([*new, *seen], 3), (seen, 3), (new, 0):
        caplog.clear()
        examples = rows_of(artifact, given)
        assert list(telling_trained(artifact, examples)) == examples
        told = f"{num_known} of {len(given)} rows have the text of a training row, so the metrics are too optimistic"
        assert caplog.messages == [told] * (num_known > 0)


def test_where_training_rows_are_unknown_evaluation_goes_on(
    artifact: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that came from the hub is evaluated without a warning each time."""
    moved = tmp_path / "moved"
    shutil.copytree(artifact, moved)
    (moved / TRAINED).unlink()
    run = json.loads((moved / "run.json").read_text())
    run["config"]["data"]["train"] = "gone.jsonl"
    (moved / "run.json").write_text(json.dumps(run))
    examples = rows_of(moved, rows(3))
    with caplog.at_level("INFO", logger="dhrd"):
        assert list(telling_trained(moved, examples)) == examples
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "cannot check whether the model was trained on these rows: gone.jsonl" in caplog.text


@pytest.mark.parametrize("spec", ["https://ann:hush@them/rows.jsonl", "hub:them/rows", "superglue:rte"])
def test_rows_elsewhere_that_only_the_artifact_names_are_not_fetched(
    artifact: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, spec: str
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(artifact, moved)
    (moved / TRAINED).unlink()
    run = json.loads((moved / "run.json").read_text())
    run["config"]["data"] |= {"train": spec, "superglue_root": None}
    (moved / "run.json").write_text(json.dumps(run))
    assert num_trained(moved, ["0"]) == 0
    assert "is not on this machine, and is not fetched for this alone" in caplog.text and "hush" not in caplog.text


def test_rows_that_changed_since_training_are_not_taken_for_held_out(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Split again, other rows are held out, some of which the model has seen; so is a file of that name elsewhere."""
    given = ["training.num_epochs=1", "data.dev_share=0.3", "data.train=train.jsonl", "data.validation=null"]
    monkeypatch.chdir(tmp_path)
    model = dhrd.train(make_config(tiny_backbone, tmp_path, *given)).output_dir
    held_out, train = held_out_rows(model), rows(20)
    assert len(held_out) == 6 and num_trained(model, map(digest_of, held_out)) == 0
    digests = [digest_of(row) for row in rows_of(model, train)]
    known = shutil.copytree(model, tmp_path / "known")
    (model / TRAINED).unlink()
    assert num_trained(model, digests) == 14, "read again"
    write_jsonl(tmp_path / "train.jsonl", [{**row, "rationale": "another", "more": 1} for row in train])
    assert [digest_of(row) for row in held_out_rows(model)] == [digest_of(row) for row in held_out]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for directory, now in (tmp_path, train[3:]), (elsewhere, rows(40)[20:]):
        write_jsonl(directory / "train.jsonl", now)
        monkeypatch.chdir(directory)
        with pytest.raises(DataError, match=r"held out have changed.* \(train\.jsonl\).*: give `data=SPEC`$"):
            held_out_rows(model, instead="data")
        assert num_trained(known, digests) == 14, "whatever the file holds by now"
        caplog.clear()
        assert num_trained(model, digests) == 0
        told = "cannot check whether the model was trained on these rows: data.train (train.jsonl) gives other rows now"
        assert caplog.messages == [f"{told} than in training"]
    info = json.loads((model / "dhrd.json").read_text())
    change(model / "dhrd.json", training={**info["training"], "rows": None})
    assert held_out_rows(model), "of an older version, which did not say which rows it held out"


@pytest.mark.parametrize("setting", ["train", "validation"])
def test_a_stream_that_was_trained_on_is_not_read_again(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, setting: str
) -> None:
    """What stands in it now is another's: the list of a shell's loop, say."""
    monkeypatch.setattr("sys.stdin", None)  # reading it would fail
    model = shutil.copytree(artifact, tmp_path / "model")
    (model / TRAINED).unlink()
    run = json.loads((model / "run.json").read_text())
    run["config"]["data"] |= {setting: "-", "dev_share": 0.2}
    (model / "run.json").write_text(json.dumps(run))
    told = f"data.{setting} (-) was a stream, which is read once"
    assert num_trained(model, ["0"]) == 0
    assert caplog.messages == [f"cannot check whether the model was trained on these rows: {told}"]
    with pytest.raises(DataError) as caught:
        held_out_rows(model)
    assert str(caught.value) == f"{told}; give `dev_data=SPEC`"
    with pytest.raises(DataError) as caught:
        rows_of(model, split=setting)
    assert str(caught.value) == f"{told}; give `data=SPEC`"


@pytest.mark.parametrize("keeps_head", ["true", "false"])
def test_rows_of_the_artifact_that_training_began_with_are_known(
    artifact: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, keeps_head: str
) -> None:
    """What a backbone was trained on, the new model knows by heart as well."""
    write_jsonl(tmp_path / "more.jsonl", rows(40)[30:])
    given = ["training.num_epochs=1", f"data.train={tmp_path / 'more.jsonl'}", f"model.keep_head={keeps_head}"]
    model = dhrd.train(make_config(artifact, tmp_path, *given)).output_dir
    assert num_trained(model, [digest_of(row) for row in rows_of(model, rows(40))]) == 20 + 10
    with pytest.raises(DataError, match="the model was trained on 20 of the 20 rows"):
        refuse_trained_rows(model, [digest_of(row) for row in rows_of(model, rows(20))])
    given = [*given, f"data.train={tmp_path / 'train.jsonl'}", "data.dev_share=0.3"]
    again = dhrd.train(make_config(artifact, tmp_path, *given, f"output_dir={tmp_path / 'again'}")).output_dir
    with pytest.raises(DataError, match="the model was trained on 6 of the 6 rows"):
        dhrd.decide(again, targets=["accuracy>=0.1"])
    (model / TRAINED).write_bytes(b"1")
    caplog.clear()
    assert backbone_digests(str(model)) == set() and backbone_digests("org/name") == set()
    assert len(caplog.messages) == 1 and "the new artifact cannot tell which rows this one was trained" in caplog.text


def test_held_out_rows_may_repeat_texts_but_be_none_that_the_run_began_with(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    """Repetition within a file is natural, and told in training; what an earlier training saw is not held out."""
    again = [{**row, "id": f"again-{row['id']}"} for row in rows(20)]
    train = write_jsonl(tmp_path / "twice.jsonl", [*rows(20), *again])
    given = [f"data.train={train}", "data.validation=null", "training.num_epochs=1", "data.dev_share=0.3"]
    first = dhrd.train(make_config(tiny_backbone, tmp_path, *given)).output_dir
    held_out = [digest_of(row) for row in held_out_rows(first)]
    with pytest.raises(DataError, match="the model was trained on"):
        refuse_trained_rows(first, held_out)
    refuse_trained_rows(first, held_out, held_out=True)
    then = [*given, f"model.name_or_path={first}", f"output_dir={tmp_path / 'then'}", "seed=1"]
    second = dhrd.train(make_config(tiny_backbone, tmp_path, *then)).output_dir
    with pytest.raises(DataError, match="the model was trained on"):
        refuse_trained_rows(second, [digest_of(row) for row in held_out_rows(second)], held_out=True)
