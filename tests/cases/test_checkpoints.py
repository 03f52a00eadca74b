"""Checkpoints that were changed, damaged, or of a run that something else has changed since."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dhrd.config import RunConfig
from dhrd.errors import ArtifactError, CheckpointError, SaveError
from dhrd.run import train as run
from dhrd.training import checkpoints as state
from helpers.rows import write_jsonl
from helpers.runs import Recorder, Stop, make_config, read_jsonl, rows, run_here, save_backbone

STEPS = 10
CAPTURE = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Broken:
    """A run of 10 updates that ended after the 7th, with checkpoints at 4 and 6."""

    config: RunConfig
    output: Path

    @property
    def newest(self) -> Path:
        return self.output / "checkpoints" / "step-00000006"

    def resume(self, path: Path | None = None, **options: Any) -> run.TrainResult:
        return run.train(self.config, device="cpu", checkpoint=path or self.output, **options)

    def refusal(self, path: Path | None = None, **options: Any) -> str:
        with pytest.raises(CheckpointError) as caught:
            self.resume(path, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)


def broken_run(backbone: Path, directory: Path, *overrides: str) -> Broken:
    config = make_config(backbone, directory, "training.batch_size=4", "training.save_steps=2", *overrides)
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=7)])
    return Broken(config, directory / "out")


@pytest.fixture(scope="module")
def template(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Broken:
    return broken_run(tiny_backbone, tmp_path_factory.mktemp("broken"))


@pytest.fixture
def broken(template: Broken, tmp_path: Path) -> Broken:
    """A copy of it for one test."""
    output = shutil.copytree(template.output, tmp_path / "out")
    return Broken(template.config.model_copy(update={"output_dir": str(output)}), output)


def sealed(checkpoint: Path) -> None:
    """Give changed files the digests that they would have: what a careful attacker does."""
    path = checkpoint / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    state.pop("digest")
    state["files"] = {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in state["files"]}
    state["digest"] = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(state), encoding="utf-8")


def change_state(checkpoint: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = checkpoint / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    change(state)
    path.write_text(json.dumps(state), encoding="utf-8")
    sealed(checkpoint)


def test_a6_every_file_has_its_digest(broken: Broken) -> None:
    """A6: a digest of each file in the state."""
    state = json.loads((broken.newest / "state.json").read_text(encoding="utf-8"))
    assert sorted(state["files"]) == ["model.safetensors", "optimizer.pt", "rng-0.pt"]
    assert state["files"]["optimizer.pt"] == hashlib.sha256((broken.newest / "optimizer.pt").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng-0.pt", "state.json"])
def test_a6_a_flipped_bit_is_noticed_and_the_checkpoint_before_it_used(
    broken: Broken, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A6: a bit flipped in the optimizer's file went unnoticed."""
    content = bytearray((broken.newest / name).read_bytes())
    where = content.index(b'"step": 6') + len('"step": ') if name == "state.json" else len(content) // 2
    content[where] ^= 1
    (broken.newest / name).write_bytes(content)
    assert "differs from its digest" in broken.refusal(broken.newest)
    with caplog.at_level(logging.WARNING, "dhrd"):
        assert broken.resume().steps == STEPS
    assert "differs from its digest" in caplog.text
    assert "resuming after step 4" in caplog.text


def test_a6_no_checkpoint_is_whole(broken: Broken) -> None:
    """A6: where none can be used, one line says so, and nothing was changed."""
    for path in (broken.output / "checkpoints").glob("step-*"):
        (path / "optimizer.pt").write_bytes(b"")
    before = (broken.output / "metrics.jsonl").read_bytes()
    assert "there is no complete checkpoint" in broken.refusal()
    assert (broken.output / "metrics.jsonl").read_bytes() == before


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    """Change one weight of a checkpoint."""

    def harm(checkpoint: Path) -> None:
        state = load_file(checkpoint / "model.safetensors")
        state["head.score.weight"] = change(state["head.score.weight"])
        save_file(state, checkpoint / "model.safetensors")

    return harm


def optimizer(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change, or replace, what optimizer.pt holds."""

    def harm(checkpoint: Path) -> None:
        state = torch.load(checkpoint / "optimizer.pt", weights_only=True)
        torch.save(change(state) or state, checkpoint / "optimizer.pt")

    return harm


def rng(value: Any) -> Callable[[Path], None]:
    return lambda checkpoint: torch.save(value, checkpoint / "rng-0.pt")


def moments(**values: Any) -> Callable[[Path], None]:
    """Give a tensor's state in the optimizer other values; None: without them."""

    def change(state: dict[str, Any]) -> None:
        kept = state["optimizer"]["state"][0]
        kept |= values
        for name in [name for name, value in values.items() if value is None]:
            del kept[name]

    return optimizer(change)


HARMS = {
    "a weight of one number": weights(lambda _: torch.ones(1)),
    "a weight of another shape": weights(lambda t: t.T.contiguous()),
    "a weight of another dtype": weights(lambda t: t.half()),
    "exp_avg of another shape": moments(exp_avg=torch.zeros(1)),
    "exp_avg larger": moments(exp_avg=torch.zeros(10_000)),
    "exp_avg of another dtype": moments(exp_avg=torch.zeros((262, 16), dtype=torch.int8)),
    "exp_avg expanded": moments(exp_avg_sq=torch.zeros(1).expand(262, 16)),
    "exp_avg no tensor": moments(exp_avg=[1.0]),
    "exp_avg missing": moments(exp_avg=None),
    "step no number": moments(step=torch.zeros(3)),
    "the optimizer a list": optimizer(lambda _: [1, 2]),
    "the optimizer's state a list": optimizer(lambda s: s["optimizer"].update(state=[]) or s),
    "more tensors than there are": optimizer(lambda s: s["optimizer"]["state"].update({99: {}})),
    "no groups": optimizer(lambda s: s["optimizer"].update(param_groups=[])),
    "a rate that is text": optimizer(lambda s: s["optimizer"]["param_groups"][0].update(lr="fast")),
    "a rate that is no number": optimizer(lambda s: s["optimizer"]["param_groups"][0].update(lr=float("nan"))),
    "a schedule of text": optimizer(lambda s: s.update(schedule="linear")),
    "no schedule": optimizer(lambda s: s.pop("schedule") and s),
    "the random state a list": rng([1, 2, 3]),
    "the random state empty": rng({}),
    "the random state short": rng({"python": [3, [], None], "numpy": [], "torch": torch.zeros(3, dtype=torch.uint8)}),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a6_a12_shapes_are_checked_whatever_the_digests_say(broken: Broken, harm: Callable[[Path], None]) -> None:
    """A6, A12: broadcast weights, SIGSEGV by a wrong exp_avg, tracebacks by lists."""
    harm(broken.newest)
    sealed(broken.newest)
    assert str(broken.newest) in broken.refusal()


POSITIONS: dict[str, Any] = {
    "epoch far away": {"epoch": 10**9},
    "step far away": {"step": 10**9},
    "step of another epoch": {"step": 3},
    "update beyond the epoch": {"update": 5, "epoch": 1, "step": 10},
    "past the end": {"step": 11, "epoch": 2, "update": 1},
    "negative": {"step": -1, "epoch": 0, "update": -1},
    "best after it": {"best_step": 7, "best_value": 1.0},
    "text": {"step": "6"},
    "a list": {"epoch": [1]},
    "true": {"update": True},
    "null": {"step": None},
    "a tracker that is a list": {"tracker": ["x"]},
    "another field": {"more": 1},
}


@pytest.mark.parametrize("change", POSITIONS.values(), ids=POSITIONS)
def test_a6_a12_a_position_that_the_run_cannot_have(broken: Broken, change: dict[str, Any]) -> None:
    """A6: with epoch 10**9 the weights of step 6 were published as finished. A12: positions of other types."""
    change_state(broken.newest, lambda state: state["position"].update(change))
    assert "damaged" in broken.refusal(broken.newest)
    assert not (broken.output / "dhrd.json").exists()


@pytest.mark.parametrize("position", [None, 5, [], {}, "here"])
def test_a12_no_position_at_all(broken: Broken, position: Any) -> None:
    """A12: an empty one would be the beginning, which a checkpoint after step 6 is not."""
    change_state(broken.newest, lambda state: state.update(position=position))
    assert "not a position" in broken.refusal(broken.newest)


DEEP = "[" * 100_000
RECORDS = ["[]", "null", "5", '"text"', '{"config": null}', '{"config": []}', "{}", "{", "", DEEP, '{"config": ' + DEEP]


@pytest.mark.parametrize("content", RECORDS, ids=lambda text: text[:20] or "empty")
def test_a12_a_damaged_record_of_a_run(capsys: CAPTURE, broken: Broken, content: str) -> None:
    """A12: checkpoints/run.json of any form, with the public command."""
    (broken.output / "checkpoints" / "run.json").write_text(content, encoding="utf-8")
    ended = run_here(capsys, "train", "--checkpoint", broken.output, "--device", "cpu")
    assert ended.code == 2, ended.err
    assert len(ended.error_lines) == 1
    assert "run.json: damaged" in ended.error_lines[0]


def test_a12_a_damaged_record_in_an_artifact(capsys: CAPTURE, broken: Broken) -> None:
    """A12: run.json of a finished run, read by evaluate and predict."""
    broken.resume()
    for content in RECORDS:
        (broken.output / "run.json").write_text(content, encoding="utf-8")
        for command in (["evaluate"], ["predict", "--input", "x.jsonl", "--output", broken.output.parent / "y.jsonl"]):
            ended = run_here(capsys, *command, "--model", broken.output, "--device", "cpu")
            assert ended.code == 2, ended.err
            assert len(ended.error_lines) == 1
            assert "run.json: damaged" in ended.error_lines[0]


def test_a12_a_record_without_precision_is_of_an_older_version(broken: Broken) -> None:
    """A12: it is read; the precision is chosen again."""
    path = broken.output / "checkpoints" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["precision"]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert broken.resume().steps == STEPS


@pytest.mark.parametrize("precision", ['"bf16"', "[]", '{"mixed": 5}', '{"mixed": "int8"}', '{"mixed": "no", "x": 1}'])
def test_a12_a_precision_of_another_type(broken: Broken, precision: str) -> None:
    """A12: the precision in run.json."""
    path = broken.output / "checkpoints" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8")) | {"precision": json.loads(precision)}
    path.write_text(json.dumps(record), encoding="utf-8")
    assert "is not a precision" in broken.refusal()


@pytest.mark.parametrize(
    "junk", ["junk", "[]", "5", '{"loss": 1}', '{"step": "3"}', "{", "", DEEP], ids=lambda j: j[:9]
)
def test_a12_a_junk_line_among_the_numbers(broken: Broken, junk: str) -> None:
    """A12: a line in the middle of metrics.jsonl that no run wrote; a torn last one is what a kill leaves."""
    path = broken.output / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:2], junk + "\n", *lines[2:]]), encoding="utf-8")
    assert f"{path}:3: damaged" in broken.refusal()
    path.write_text("".join([*lines, junk]), encoding="utf-8")
    assert broken.resume().steps == STEPS
    assert [row["step"] for row in read_jsonl(path) if "loss" in row] == list(range(1, STEPS + 1))


def test_a6_changed_best_weights_are_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    """A6: the best weights so far lie beside the checkpoints; their digest is in the position."""
    choosing = ["training.selection=best", "training.eval_steps=2", "training.metric=log_loss"]
    found = broken_run(tiny_backbone, tmp_path, *choosing, "training.learning_rate=0.00001")
    best = max((found.output / "checkpoints").glob("best-*.safetensors"))
    state = load_file(best)
    state["head.score.weight"] *= -1
    position = json.loads((found.newest / "state.json").read_text(encoding="utf-8"))["position"]
    assert position["best_digest"] == hashlib.sha256(best.read_bytes()).hexdigest()
    save_file(state, best)
    change_state(found.newest, lambda state: state["position"].update(stopped=True))
    assert f"{best.name}: damaged" in found.refusal()


# F16: what else decides a run


def test_f16_other_validation_rows_are_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    """F16: a best score was compared with scores on other rows."""
    found = broken_run(tiny_backbone, tmp_path, "training.selection=best")
    kept = (tmp_path / "validation.jsonl").read_bytes()
    write_jsonl(tmp_path / "validation.jsonl", rows(9))
    message = found.refusal()
    assert "rows of choices" in message
    (tmp_path / "validation.jsonl").write_bytes(kept)
    assert found.resume().steps == STEPS


def test_f16_given_validation_rows_are_compared_too(broken: Broken) -> None:
    """F16: rows given in Python."""
    assert "validation rows" in broken.refusal(validation_dataset=rows(9))


def test_f16_other_label_names_are_refused(broken: Broken) -> None:
    """F16: the same rows, with the names of the labels changed, are another task."""
    renamed = {"keep": "hold", "return": "return", "repair": "repair"}
    changed = [{**row, "label": renamed[row["label"]]} for row in rows(29)]
    message = broken.refusal(train_dataset=changed[:20], validation_dataset=changed[20:])
    assert "labels: [" in message
    assert "hold" in message


@pytest.mark.parametrize("override", ["model.lora={r: 2}", "model.freeze_layers=1"])
def test_f16_another_backbone_under_what_is_trained_is_refused(tmp_path: Path, override: str) -> None:
    """F16: LoRA's base weights, and frozen layers, are in no checkpoint."""
    backbone = save_backbone(tmp_path / "base")
    found = broken_run(backbone, tmp_path, override)
    state = load_file(backbone / "model.safetensors")
    kept = {name: tensor.clone() for name, tensor in state.items()}
    state["model.embed_tokens.weight"][0, 0] += 0.5
    save_file(state, backbone / "model.safetensors", metadata={"format": "pt"})
    assert "frozen weights" in found.refusal()
    save_file(kept, backbone / "model.safetensors", metadata={"format": "pt"})
    assert found.resume().steps == STEPS


@pytest.mark.parametrize("content", ["[]", "", "{", '{"format_version": 1}', '{"kind": "onnx"}'])
def test_a12_a_damaged_manifest_is_no_finished_run(broken: Broken, content: str) -> None:
    """A12: its checkpoints are all that there is of the run, and stay."""
    (broken.output / "dhrd.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"dhrd\.json"):
        broken.resume()
    assert broken.newest.is_dir()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("part", ["_save_objects", "write_state", "set_modes"])
def test_f13_a_checkpoint_that_is_not_whole_is_removed(
    broken: Broken, monkeypatch: pytest.MonkeyPatch, error: Any, part: str
) -> None:
    """F13: on Ctrl-C and on a full disk nothing half-written stays, and the run goes on to its end."""

    def fails(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SaveError)):
        patch.setattr(state, part, fails)
        broken.resume()
    assert not list((broken.output / "checkpoints").glob(".partial*"))
    assert broken.resume().steps == STEPS
