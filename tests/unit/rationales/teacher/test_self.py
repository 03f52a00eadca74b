"""The model as its own teacher: it is asked in the form of its training, and its own answer tells what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.artifact.info import read_info
from dhrd.config import DataSettings, load_config
from dhrd.data.sources import open_source
from dhrd.errors import ArtifactError, ConfigError, DataError, TeacherError
from dhrd.experiments.studies.controlled import BACKBONE
from dhrd.rationales.generate import generate_rationales
from dhrd.rationales.output import Written
from dhrd.run.train import train
from helpers.own_teacher import SELF, Writer, is_told, write_truly, written_as
from helpers.rows import write_jsonl
from helpers.runs import make_config, read_jsonl, rows
from helpers.teacher import manifest


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Path:
    """Of a short run with rationales."""
    directory = tmp_path_factory.mktemp("self")
    return train(make_config(tiny_backbone, directory, "training.num_epochs=1"), device="cpu").output_dir


def ask(artifact: Path, data: Path | str, output: Path, **settings: Any) -> Written:
    given = {"name": f"self:{artifact}", "max_tokens": 60, "batch_size": 3, **settings}
    config = load_config(**{f"teacher__{name}": value for name, value in given.items()})
    return generate_rationales(config, str(data), output, device="cpu")


def write_data(directory: Path) -> Path:
    return write_jsonl(directory / "data.jsonl", [row | {"rationale": None} for row in rows(9)])


def test_a_rationale_is_kept_where_its_own_answer_is_the_label(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It always answers keep; a row of another label is asked twice, then told its label."""
    writer = Writer(lambda text: " it was told" if is_told(text) else written_as("it said so", "keep"))
    monkeypatch.setattr(SELF, writer)
    data, output = write_data(tmp_path), tmp_path / "o.jsonl"
    found = ask(artifact, data, output, samples=2)
    by_id = {row["id"]: row for row in read_jsonl(output)}
    labels = {row["id"]: row["label"] for row in read_jsonl(data)}
    assert len(by_id) == found.num_rationales == 9
    for row_id, row in by_id.items():
        if labels[row_id] == "keep":
            assert row["rationale"] == "it said so" and "label_given" not in row
        else:
            assert row["rationale"] == "it was told" and row["label_given"] is True
    assert found.noted["label_given"] == manifest(output)["rows"]["label_given"] == 6
    told = [text for text in writer.asked if is_told(text)]
    assert len(writer.asked) - len(told) == 3 + 2 * 6 and len(told) == 6
    assert all(f"\nAnswer: {label}\n\nReasoning:" in "".join(told) for label in ("return", "repair"))
    assert all(
        text.startswith("case ") and text.endswith("\n\nReasoning:") for text in writer.asked if not is_told(text)
    )
    assert {given["temperature"] for given in writer.given} == {0.7}
    again = ask(artifact, data, output, samples=2)
    assert again.tally.num_requests == 0 and read_jsonl(output) == list(by_id.values())


def test_answers_in_the_tokenizers_own_spelling_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose tokenizer lowers case and spaces signs: rows that it answers rightly are not told their label."""
    few = ("data.train=policy_desk:rows=8,seed=3", "training.num_epochs=1")
    bounds = ("data.max_input_tokens=120", "data.max_sequence_tokens=200")
    small = (f"model.name_or_path={BACKBONE}", f"output_dir={tmp_path / 'out'}", "training.mixed_precision=no")
    artifact = train(load_config(overrides=[*small, *few, *bounds]), device="cpu").output_dir
    said = written_as("It was faulty.", "store credit")
    writer = Writer(lambda text: " It was told." if "answer :" in text and text.endswith("reasoning :") else said)
    monkeypatch.setattr(SELF, writer)
    data, output = "policy_desk:rows=30,seed=3", tmp_path / "o.jsonl"
    found = ask(artifact, data, output)
    own = [row for row in read_jsonl(output) if "label_given" not in row]
    labels = [example.label for example in open_source(data, DataSettings()).load()]
    assert len(own) == labels.count("store_credit") > 0 and {row["rationale"] for row in own} == {"it was faulty ."}
    assert found.num_rationales == 30 and found.noted["label_given"] == 30 - len(own)


def test_what_is_cut_or_names_no_label_is_no_rationale(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SELF, Writer(lambda text: "" if is_told(text) else written_as("it is odd", "perhaps")))
    found = ask(artifact, write_data(tmp_path), tmp_path / "o.jsonl")
    assert found.num_rationales == 0 and found.rejected.total() == 9


def test_whatever_a_head_writes_settles_its_row(artifact: Path, tmp_path: Path) -> None:
    """Through the real decoding, with a head of one epoch."""
    data = write_jsonl(tmp_path / "few.jsonl", rows(3))
    found = ask(artifact, data, tmp_path / "o.jsonl", max_tokens=12)
    assert found.num_rationales + found.rejected.total() == 3 and not found.num_open


def test_the_room_of_the_artifacts_sequences_bounds_an_answer(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(lambda text: " x")
    monkeypatch.setattr(SELF, writer)
    ask(artifact, write_data(tmp_path), tmp_path / "o.jsonl", max_tokens=10_000)
    most = read_info(artifact).max_sequence_tokens
    assert all(0 < given["max_new_tokens"] < most for given in writer.given)


LONGER = " and much more text than the other rows of this file have"  # cut to 60 tokens


class BriefWriter(Writer):
    """Writes by a rule, and no more than it may."""

    def __call__(self, model: Any, tokenizer: Any, prompts: Any, **given: Any) -> list[list[int]]:
        return [new[: given["max_new_tokens"]] for new in super().__call__(model, tokenizer, prompts, **given)]


@pytest.fixture
def small_artifact(request: pytest.FixtureRequest, tiny_backbone: Path, tmp_path: Path) -> Path:
    """Whose inputs have up to 60 tokens, and whose sequences as many as the parameter says."""
    bounds = ("data.max_input_tokens=60", f"data.max_sequence_tokens={request.param}")
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", *bounds)
    return train(config, device="cpu").output_dir


@pytest.mark.parametrize("small_artifact", [70, 84], indirect=True)  # no room for the longer row, and too little
@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_row_without_room_costs_its_neighbours_nothing(
    small_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setattr(SELF, BriefWriter(write_truly))
    given = [row | {"rationale": None} for row in rows(6)]
    given[1]["input_text"] += LONGER
    data, output = write_jsonl(tmp_path / "d.jsonl", given), tmp_path / "o.jsonl"
    found = ask(small_artifact, data, output, samples=2, max_tokens=40, batch_size=batch_size)
    assert [row["id"] for row in read_jsonl(output) if "label_given" not in row] == ["r0", "r2", "r3", "r4", "r5"]
    assert dict(found.rejected) == {"failed": 1}


@pytest.mark.parametrize("small_artifact", [84], indirect=True)
def test_answers_that_are_all_cut_are_told_what_cut_them(
    small_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SELF, BriefWriter(write_truly))
    longer = [row | {"rationale": None, "input_text": row["input_text"] + LONGER} for row in rows(9)]
    with pytest.raises(TeacherError, match=r"8 answers was cut where the artifact's sequences end, .*; train it with"):
        ask(small_artifact, write_jsonl(tmp_path / "d.jsonl", longer), tmp_path / "o.jsonl", max_tokens=40)
    with pytest.raises(TeacherError, match=r"8 answers was cut at max_tokens 5, .*; raise `teacher\.max_tokens`"):
        ask(small_artifact, write_data(tmp_path), tmp_path / "p.jsonl", max_tokens=5)


def test_a_head_that_was_not_trained_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    pooled = train(
        make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "loss.reasoning_weight=0"), device="cpu"
    )
    with pytest.raises(ArtifactError, match="its reasoning head is untrained"):
        ask(pooled.output_dir, write_data(tmp_path), tmp_path / "o.jsonl")


def test_settings_of_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="template sets a prompt"):
        load_config(teacher__name="self:output", teacher__template="x.jinja")


@pytest.mark.parametrize("own", [("return", "keep"), ("bill", "keep", "return"), ("keep", "return")])
def test_a_row_is_told_its_own_label_whatever_the_order_of_the_files_labels(
    own: tuple[str, ...], tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", f"data.labels=[{','.join(own)}]")
    for name in ("train", "validation"):
        write_jsonl(
            tmp_path / f"{name}.jsonl", [row | {"label": ("keep", "return")[i % 2]} for i, row in enumerate(rows(9))]
        )
    artifact = train(trained, device="cpu").output_dir
    writer = Writer(lambda text: " it was told" if is_told(text) else written_as("it is odd", "perhaps"))
    monkeypatch.setattr(SELF, writer)
    data = write_jsonl(
        tmp_path / "data.jsonl",
        [{"id": str(i), "input_text": f"case {i}", "label": ("keep", "return")[i % 2]} for i in range(4)],
    )
    assert ask(artifact, data, tmp_path / "o.jsonl").num_rationales == 4
    told = [text for text in writer.asked if is_told(text)]
    assert len(told) == 4
    for text in told:
        assert f"Answer: {('keep', 'return')[int(text.split()[1]) % 2]}\n" in text
    more = write_jsonl(tmp_path / "more.jsonl", [{"id": "a", "input_text": "case 9", "label": "swap"}])
    with pytest.raises(DataError, match="label: 'swap' is unknown; labels are"):
        ask(artifact, more, tmp_path / "p.jsonl")
