"""What goes wrong ends in one clear line and the right exit code, with checkpoints and logs intact."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dhrd.run import train as run
from helpers.fork import ForkServer
from helpers.rows import write_jsonl
from helpers.runs import (
    Ended,
    Recorder,
    Stop,
    flags,
    make_config,
    read_jsonl,
    rows,
    run_forked,
    run_here,
    save_backbone,
    settings,
    write_rows,
)

Capsys = pytest.CaptureFixture[str]


def assert_refused(ended: Ended, *parts: str, code: int = 2, num_lines: int = 1) -> None:
    """One line (or one a row) that begins with `dhrd: error:` and holds all parts; it is the last on stderr."""
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    assert len(ended.error_lines) == num_lines, ended.err
    assert ended.err.count("dhrd: error:") == 1
    for part in parts:
        assert part in "\n".join(ended.error_lines), ended.err


@pytest.fixture
def train(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> Callable[..., Ended]:
    """`dhrd train` on the files of `tmp_path`, with further settings and flags."""
    write_rows(tmp_path)

    def run_train(*overrides: str, more: tuple[object, ...] = ("--device", "cpu")) -> Ended:
        return run_here(capsys, "train", *flags(settings(tiny_backbone, tmp_path, *overrides)), *more)

    return run_train


Train = Callable[..., Ended]

SETTINGS = [
    (["training.batch_sice=4"], ["training.batch_sice: unknown setting; did you mean training.batch_size?"]),
    (["training.num_epochs=none"], ["training.num_epochs: ", "got 'none'"]),
    (["training.num_epochs=0"], ["training.num_epochs: ", "got 0"]),
    (["data.max_sequence_tokens=16"], ["max_sequence_tokens (16) is smaller than max_input_tokens (512)", "raise"]),
    (
        ["data.max_sequence_tokens=2048"],
        ["2048", "over the backbone's context (1024)", "data.max_sequence_tokens to 1024"],
    ),
    (["model.hed=mlp", "training.schedule=step", "seed=x"], ["model.hed", "training.schedule", "seed"]),
    (["training.selection=best", "training.metric=f1a"], ["training.metric: 'f1a'", "give one of accuracy"]),
    (["training.selection=best", "data.validation=null"], ["data.dev_share"]),
    (["loss.classification_weight=0", "loss.reasoning_weight=0"], ["there is nothing to train"]),
    (["loss.class_weights={keep: 2}"], ["loss.class_weights: give one weight for each of keep, repair, return"]),
    (["model.num_labels=2"], ["model.num_labels is 2, but there are 3 labels"]),
    (["data.labels=[keep, return]"], ["label: 'repair' is unknown; labels are 'keep', 'return'"]),
    (["model.lora.target_modules=[nowhere]"], ["nowhere"]),
    (["model.freeze_layers=9"], ["model.freeze_layers"]),
    (["data.train=null"], ["data.train is not set"]),
    (["data.train=nowhere.jsonl"], ["nowhere.jsonl: no such file"]),
    (["data.train=rows.xlsx"], ["rows.xlsx: unknown file type; use one of .csv, .json, .jsonl, .parquet"]),
    (["data.validation=nowhere.jsonl"], ["nowhere.jsonl: no such file"]),
    (["data.rationales=nowhere.jsonl"], ["nowhere.jsonl: no such file"]),
    (["data.train=superglue:nli"], ["superglue:nli"]),
    (["data.train=superglue:cb", "data.superglue_root=/nowhere"], ["/nowhere/CB/train.jsonl"]),
    (["data.input_template='{{ premise }}'"], ["train.jsonl:1", "premise"]),
    (["data.input_template='{{ input_text'"], ["data.input_template"]),
    (["data.columns={input_text: body}"], ["train.jsonl:1: input_text: there is no column 'body'"]),
    (["data.columns={text: body}"], ["unknown field 'text'"]),
    (["data.dev_share=0.001"], ["data.dev_share: 0.001 of 20 rows"]),
    (["model.name_or_path=/nowhere/model.gguf"], ["/nowhere/model.gguf"]),
    (["model.name_or_path=package:no_such_package/m.gguf"], ["no_such_package", "pip install no-such-package"]),
    (["training.mixed_precision=fp16"], ["training.mixed_precision: fp16 needs a GPU"]),
    (["data.chat=true"], ["chat"]),
]


@pytest.mark.parametrize(("overrides", "parts"), SETTINGS, ids=[" ".join(one) for one, _ in SETTINGS])
def test_a_setting_that_cannot_work(train: Train, overrides: list[str], parts: list[str]) -> None:
    if "fp16" in overrides[0] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    ended = train(*overrides)
    several = len(overrides) > 1 or "train.jsonl:1" in parts[0] or "is unknown; labels are" in parts[0]
    assert_refused(ended, *parts, num_lines=len(ended.error_lines) if several else 1)
    assert 1 <= len(ended.error_lines) <= 11


def test_set_without_a_value(train: Train) -> None:
    assert_refused(train("training.batch_size"), "--set training.batch_size: write it as section.key=value")


def test_a_config_file_that_is_missing_or_not_yaml(capsys: Capsys, tmp_path: Path) -> None:
    ended = run_here(capsys, "train", "--config", tmp_path / "no.yaml")
    assert_refused(ended, f"{tmp_path / 'no.yaml'}: no such config file")
    (tmp_path / "bad.yaml").write_text("model:\n  head: [linear\n", encoding="utf-8")
    assert_refused(run_here(capsys, "train", "--config", tmp_path / "bad.yaml"), "bad.yaml:3: not valid YAML")


GOOD = '{"input_text": "a", "label": "keep"}'
ROWS = [
    ('{"input_text": "a", "label": "keep"', "train.jsonl:2: not valid JSON"),
    ("[1, 2]", "train.jsonl:2: a row must be an object"),
    ('{"label": "keep"}', "train.jsonl:2: input_text: missing"),
    ('{"input_text": "a"}', "train.jsonl:2: label: missing"),
    ('{"input_text": "  ", "label": "keep"}', "train.jsonl:2: input_text: empty"),
    ('{"input_text": 3, "label": "keep"}', "train.jsonl:2: input_text: 3 is not text"),
    ('{"input_text": "a", "label": {"x": "1"}}', "train.jsonl:2: label: the share of 'x' is '1', not a number"),
    (
        '{"input_text": "a", "label": {"keep": 1, "x": -1}}',
        "train.jsonl:2: label: the share of 'x' is -1, not a number",
    ),
    ('{"input_text": "a", "label": "keep", "weight": -1}', "train.jsonl:2: weight: -1 is not a number of at least 0"),
    ('{"input_text": "a", "label": "keep", "rationale": 5}', "train.jsonl:2: rationale: 5 is not text"),
    ('{"input_text": "\udcff", "label": "keep"}', "train.jsonl:2: not valid UTF-8"),
    ('{"input_text": "a", "label": "\\ud83d"}', "train.jsonl:2: label: "),
]


@pytest.mark.parametrize(("row", "message"), ROWS, ids=[message.partition(": ")[2] for _, message in ROWS])
def test_a_malformed_row_is_named(train: Train, tmp_path: Path, row: str, message: str) -> None:
    text = f"{GOOD}\n{row}\n{GOOD}\n"
    (tmp_path / "train.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert_refused(train(), message)
    assert not (tmp_path / "out" / "dhrd.json").exists()


def test_ten_bad_rows_are_named_together(train: Train, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("\n".join(['{"input_text": "", "label": "keep"}'] * 25), encoding="utf-8")
    ended = train()
    assert_refused(ended, "(there may be more)", num_lines=11)
    assert [f"train.jsonl:{n}: input_text: empty" in line for n, line in enumerate(ended.error_lines, 1)] == [
        True
    ] * 10 + [False]


def test_a_label_of_validation_that_train_does_not_have(train: Train, tmp_path: Path) -> None:
    odd = rows(6)
    odd[4]["label"] = "refund"
    write_jsonl(tmp_path / "validation.jsonl", odd)
    ended = train()
    assert_refused(
        ended, "data.validation", "validation.jsonl:5: label: 'refund' is unknown", num_lines=len(ended.error_lines)
    )
    assert len(ended.error_lines) <= 2


def test_one_label_is_not_a_task(train: Train, tmp_path: Path) -> None:
    write_rows(tmp_path, labels=("keep",))
    assert_refused(train(), "the training rows have 1 label(s) (keep); a classifier needs at least two")


def test_no_rationale_at_all(train: Train, tmp_path: Path) -> None:
    write_rows(tmp_path, reasoned=0)
    assert_refused(train(), "no training row has a rationale", "loss.reasoning_weight=0")
    assert_refused(train("loss.reasoning_weight=0", "loss.keyword_weight=1"), "loss.keyword_weight=0")
    assert_refused(
        train("data.rationale_mode=shuffled", more=("--device", "cpu", "--overwrite")),
        "no training row has a rationale",
    )
    ended = train("data.rationale_mode=label_only", more=("--device", "cpu", "--overwrite"))
    assert ended.code == 0, ended.err
    assert {row["rationale_share"] for row in read_jsonl(tmp_path / "out" / "metrics.jsonl") if "loss" in row} == {1}


def test_rationales_of_other_rows(train: Train, tmp_path: Path) -> None:
    write_rows(tmp_path, reasoned=0)
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "elsewhere-1", "rationale": "because"}])
    assert_refused(train(f"data.rationales={path}"), "none of its 1 ids ('elsewhere-1' …) is the id of a row ('r0' …)")


def test_a_model_that_is_not_there(fork_server: ForkServer, tiny_backbone: Path, tmp_path: Path) -> None:
    """Offline, as the fork server is: a hub name, a path, a file, a directory that holds no model."""
    write_rows(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copytree(tiny_backbone, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for name in (
        "no/such-model",
        "./nowhere",
        str(tmp_path / "train.jsonl"),
        str(tmp_path / "empty"),
        str(tmp_path / "cut"),
    ):
        overrides = settings(tiny_backbone, tmp_path, f"model.name_or_path={name}")
        ended = run_forked(fork_server, tmp_path, "train", *flags(overrides), "--device", "cpu", "--overwrite")
        assert_refused(
            ended, f"model.name_or_path: {name} cannot be loaded", "give a hub name, a directory or a .gguf file"
        )


def test_superglue_without_files_and_offline(fork_server: ForkServer, tiny_backbone: Path, tmp_path: Path) -> None:
    overrides = settings(tiny_backbone, tmp_path, "data.train=superglue:cb", "data.validation=superglue:cb")
    ended = run_forked(fork_server, tmp_path, "train", *flags(overrides), "--device", "cpu")
    assert_refused(ended, "cannot be loaded", "data.superglue_root for SuperGLUE")


def test_a_gguf_file_that_is_cut_short(train: Train, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tensor("token_embd.weight", torch.zeros(64, 32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.write_bytes(path.read_bytes()[:-4000])
    assert_refused(train(f"model.name_or_path={path}"), str(path), "download it again")


def test_a_tokenizer_with_neither_pad_nor_eos(train: Train, tmp_path: Path) -> None:
    save_backbone(tmp_path / "bare", eos=None, pad=None)
    assert_refused(train(f"model.name_or_path={tmp_path / 'bare'}"), "the tokenizer has neither a pad nor an eos token")


def test_a_tokenizer_without_pad_takes_eos_and_says_so_once(train: Train, tmp_path: Path) -> None:
    save_backbone(tmp_path / "unpadded", pad=None)
    ended = train(f"model.name_or_path={tmp_path / 'unpadded'}")
    assert ended.code == 0, ended.err
    assert ended.err.count("has no padding token; using its eos token '<eos>'") == 1
    saved = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert saved["pad_token"] == "<eos>"
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["pad_token_id"] == config["eos_token_id"]


def test_an_input_that_ends_in_the_padding_token(capsys: Capsys, train: Train, tmp_path: Path) -> None:
    """Training names the row; evaluation and prediction append a newline and count it."""
    odd = rows(9)
    odd[4]["input_text"] += "<pad>"
    write_jsonl(tmp_path / "odd.jsonl", odd)
    assert_refused(
        train(f"data.train={tmp_path / 'odd.jsonl'}"), "odd.jsonl:5: the input ends in the padding token ('<pad>')"
    )
    assert not (tmp_path / "out").exists()  # what cannot work leaves nothing behind to stand in the way
    assert train().code == 0
    io = "--input", tmp_path / "odd.jsonl", "--output", tmp_path / "p.jsonl"
    ended = run_here(capsys, "predict", "--model", tmp_path / "out", *io)
    assert ended.code == 0
    assert "1 ended in the padding token and got a newline" in ended.err
    assert len(read_jsonl(tmp_path / "p.jsonl")) == 9
    files = "--data", tmp_path / "odd.jsonl", "--predictions", tmp_path / "e.jsonl"
    assert run_here(capsys, "evaluate", "--model", tmp_path / "out", *files).code == 0
    assert read_jsonl(tmp_path / "e.jsonl")[4]["input_text"].endswith("<pad>\n")


def test_a_used_output_dir(train: Train, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    ended = train()
    assert_refused(ended, "output_dir", "is not empty", "--checkpoint", "--overwrite")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious.txt"]
    ended = train(more=("--device", "cpu", "--overwrite"))
    assert_refused(ended, "no run.json or dhrd.json, so it is not a run of dhrd")
    (tmp_path / "out" / "precious.txt").rename(tmp_path / "precious.txt")
    assert train(more=("--device", "cpu")).code == 0
    (tmp_path / "precious.txt").rename(tmp_path / "out" / "precious.txt")
    assert train(more=("--device", "cpu", "--overwrite")).code == 0
    assert (tmp_path / "out" / "precious.txt").read_text() == "mine"


def test_an_output_dir_that_cannot_be_made(train: Train, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert_refused(train(), "is not a directory")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "tpu", "cpu:x", "cuda:99"])
def test_a_device_that_is_not_here(capsys: Capsys, train: Train, artifact: Path, tmp_path: Path, device: str) -> None:
    if (device in ("cuda", "cuda:0") and torch.cuda.is_available()) or (
        device == "mps" and torch.backends.mps.is_available()
    ):
        pytest.skip("it is here")
    assert_refused(train(more=("--device", device)), f"--device {device}: ")
    io = "--input", tmp_path / "train.jsonl", "--output", tmp_path / "p.jsonl"
    for command in (["evaluate"], ["predict", *map(str, io)]):
        ended = run_here(capsys, *command, "--model", artifact, "--device", device)
        assert_refused(ended, f"--device {device}: ")


def test_checkpoints_that_are_not_there(capsys: Capsys, train: Train, tmp_path: Path) -> None:
    assert_refused(run_here(capsys, "train", "--checkpoint", tmp_path / "no"), "no such directory")
    (tmp_path / "empty").mkdir()
    assert_refused(run_here(capsys, "train", "--checkpoint", tmp_path / "empty"), "no run was started there")


@pytest.fixture(scope="module")
def unfinished(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose `out` is a run that ended after step 7 of 10, with checkpoints at 4 and 6."""
    directory = tmp_path_factory.mktemp("unfinished")
    config = make_config(tiny_backbone, directory, "training.batch_size=4", "training.save_steps=2")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=7)])
    return directory


def test_settings_that_differ_from_the_checkpoints(capsys: Capsys, unfinished: Path, tiny_backbone: Path) -> None:
    own = settings(tiny_backbone, unfinished, "training.batch_size=4", "training.save_steps=2", "training.clip_norm=3")
    ended = run_here(capsys, "train", *flags(own), "--checkpoint", unfinished / "out", "--device", "cpu")
    assert_refused(ended, "training.clip_norm: 1.0 there, 3 now".replace("3 now", "3.0 now"))


def test_an_unfinished_directory_is_not_a_classifier(capsys: Capsys, unfinished: Path, tmp_path: Path) -> None:
    hint = f"continue with dhrd train --checkpoint {unfinished / 'out'}"
    assert_refused(run_here(capsys, "evaluate", "--model", unfinished / "out"), "training is not finished", hint)
    io = "--input", unfinished / "train.jsonl", "--output", tmp_path / "p.jsonl"
    assert_refused(run_here(capsys, "predict", "--model", unfinished / "out", *io), "training is not finished", hint)


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    directory = tmp_path_factory.mktemp("artifact")
    run.train(make_config(tiny_backbone, directory, "training.num_epochs=1"), device="cpu")
    return directory / "out"


def test_what_is_not_an_artifact(capsys: Capsys, artifact: Path, tiny_backbone: Path, tmp_path: Path) -> None:
    io = "--input", artifact.parent / "train.jsonl", "--output", tmp_path / "p.jsonl"
    for command in (["evaluate"], ["predict", *map(str, io)]):
        assert_refused(run_here(capsys, *command, "--model", tmp_path / "no"), f"{tmp_path / 'no'}: no such directory")
        assert_refused(run_here(capsys, *command, "--model", tiny_backbone), "not a dhrd artifact (no dhrd.json)")
    assert_refused(run_here(capsys, "evaluate"), "use --model DIR")
    for name in ("dhrd.json", "model.safetensors", "config.json"):
        copy = shutil.copytree(artifact, tmp_path / f"without {name}")
        (copy / name).write_bytes(b"{")
        assert_refused(run_here(capsys, "evaluate", "--model", copy), str(copy))


def test_rows_that_cannot_be_evaluated_or_predicted(capsys: Capsys, artifact: Path, tmp_path: Path) -> None:
    assert_refused(
        run_here(capsys, "evaluate", "--model", artifact, "--split", "dev"),
        "--split dev: unknown; the run has train, validation and test",
    )
    root = flags([f"data.superglue_root={tmp_path}"])
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", "superglue:cb", "--split", "dev", *root)
    assert_refused(ended, "'dev'", "train, validation")
    assert_refused(run_here(capsys, "evaluate", "--model", artifact, "--data", "no.jsonl"), "no.jsonl: no such file")
    odd = write_jsonl(tmp_path / "odd.jsonl", [{"input_text": "a", "label": "refund"}])
    assert_refused(
        run_here(capsys, "evaluate", "--model", artifact, "--data", odd), "odd.jsonl:1: label: 'refund' is unknown"
    )
    (tmp_path / "empty.jsonl").write_text("")
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", tmp_path / "empty.jsonl")
    assert_refused(ended, "empty.jsonl: no rows")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"input_text": "a"}\n{"input_text": ""}\n', encoding="utf-8")
    io = "--input", bad, "--output", tmp_path / "p.jsonl"
    assert_refused(run_here(capsys, "predict", "--model", artifact, *io), "bad.jsonl:2: input_text: empty")
    assert not (tmp_path / "p.jsonl").exists()


@pytest.mark.parametrize("option", ["--predictions", "--json"])
def test_a_full_disk_while_evaluating(capsys: Capsys, artifact: Path, option: str) -> None:
    ended = run_here(capsys, "evaluate", "--model", artifact, option, "/dev/full")
    assert_refused(ended, "/dev/full could not be saved (No space left on device)", code=1)


def test_a_full_disk_while_predicting(capsys: Capsys, artifact: Path, tmp_path: Path) -> None:
    source = "--input", artifact.parent / "train.jsonl"
    ended = run_here(capsys, "predict", "--model", artifact, *source, "--output", "/dev/full")
    assert_refused(ended, "/dev/full could not be saved (No space left on device)", code=1)
    assert Path("/dev/full").is_char_device()
    assert not list(Path("/dev").glob("*.partial"))
    ended = run_here(capsys, "predict", "--model", artifact, *source, "--output", tmp_path / "no" / "p.jsonl")
    assert_refused(ended, "could not be saved (No such file or directory)", code=1)


def test_predictions_may_go_to_stdout(fork_server: ForkServer, artifact: Path, tmp_path: Path) -> None:
    io = "--input", artifact.parent / "train.jsonl", "--output", "/dev/stdout"
    ended = run_forked(fork_server, tmp_path, "predict", "--model", artifact, *io, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert Path("/dev/stdout").is_symlink()  # and not replaced by a file
    assert [json.loads(line)["id"] for line in ended.out.splitlines()] == [f"r{i}" for i in range(20)]


def test_a_full_disk_while_saving_a_checkpoint(
    fork_server: ForkServer, tiny_backbone: Path, unfinished: Path, tmp_path: Path
) -> None:
    """An earlier checkpoint and the log are intact, and the run goes on once there is room."""
    out = shutil.copytree(unfinished / "out", tmp_path / "out")
    newest = {path.name: path.read_bytes() for path in (out / "checkpoints" / "step-00000006").iterdir()}
    sizes = {name: len(content) for name, content in newest.items()}
    limit = (sizes["model.safetensors"] + sizes["optimizer.pt"]) // 2  # the weights fit, the optimizer's state does not
    assert sizes["model.safetensors"] < limit < sizes["optimizer.pt"]
    again = "train", "--device", "cpu", "--checkpoint", out
    ended = run_forked(fork_server, tmp_path, *again, max_file_bytes=limit)
    assert_refused(ended, "the checkpoint", "step-00000008 could not be saved", "--checkpoint", code=1)
    assert {path.name: path.read_bytes() for path in (out / "checkpoints" / "step-00000006").iterdir()} == newest
    assert [row["step"] for row in read_jsonl(out / "metrics.jsonl") if "loss" in row] == list(range(1, 9))
    assert not (out / "dhrd.json").exists()
    assert run_forked(fork_server, tmp_path, *again).code == 0
    whole = settings(
        tiny_backbone, unfinished, "training.batch_size=4", "training.save_steps=2", f"output_dir={tmp_path / 'w'}"
    )
    assert run_forked(fork_server, tmp_path, "train", "--device", "cpu", *flags(whole)).code == 0
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "w" / "model.safetensors").read_bytes()


def test_a_full_disk_while_saving_the_artifact(fork_server: ForkServer, tiny_backbone: Path, tmp_path: Path) -> None:
    """With frozen weights a checkpoint is small, the artifact is not: its write is the one that fails."""
    write_rows(tmp_path)
    overrides = settings(tiny_backbone, tmp_path, "model.lora.r=1", "model.lora.target_modules=[q_proj]")
    ended = run_forked(fork_server, tmp_path, "train", "--device", "cpu", *flags(overrides), max_file_bytes=30_000)
    assert_refused(ended, "the artifact", "could not be saved", "--checkpoint", code=1)
    out = tmp_path / "out"
    assert not (out / "dhrd.json").exists()
    assert [path.name for path in sorted((out / "checkpoints").glob("step-*"))] == ["step-00000003", "step-00000006"]
    logged = (out / "metrics.jsonl").read_bytes()
    again = run_forked(fork_server, tmp_path, "train", "--device", "cpu", "--checkpoint", out)
    assert again.code == 0, again.err
    assert (out / "metrics.jsonl").read_bytes() == logged
    assert (out / "dhrd.json").is_file()
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_ctrl_c_is_one_line_and_130(
    capsys: Capsys, train: Train, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    function = {"predict": "predict.predict_to"}.get(command, command)
    monkeypatch.setattr(f"dhrd.run.{command}.{function}", interrupt)
    if command == "train":
        ended = train()
        expected = f"dhrd: interrupted; continue with: dhrd train --checkpoint {tmp_path / 'out'}\n"
    else:
        io = ["--input", artifact.parent / "train.jsonl", "--output", tmp_path / "p"] if command == "predict" else []
        ended, expected = run_here(capsys, command, "--model", artifact, *io), "dhrd: error: interrupted\n"
    assert (ended.code, ended.err) == (130, expected)


def test_a_run_that_diverges(train: Train, tmp_path: Path) -> None:
    ended = train("training.learning_rate=1e30", "training.head_learning_rate=1e30", "training.warmup_steps=0")
    assert_refused(ended, "the weights were not changed. Rows: ", "training.learning_rate", code=1)
    assert not (tmp_path / "out" / "dhrd.json").exists()


def test_overwrite_keeps_the_old_classifier_until_the_new_run_can_start(
    tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path)
    good = flags(settings(tiny_backbone, tmp_path, "training.num_epochs=1"))
    assert run_here(capsys, "train", *good).code == 0
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    ended = run_here(capsys, "train", *good, "--overwrite", "--set", f"data.train={tmp_path / 'nowhere.jsonl'}")
    assert ended.code == 2
    assert (tmp_path / "out" / "dhrd.json").is_file()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    assert run_here(capsys, "train", *good, "--overwrite", "--seed", "1").code == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() != before
