"""The DHRD documents' snippets run as written, but for the import line; `gpt2` is a folder of that name here."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dhrd.training.trackers.mlflow import THIS_PROCESS
from helpers.rows import make_tokenizer
from helpers.runs import Ended, rows, run_here

_TRAIN = """
import torch
from torch.utils.data import DataLoader
from transformers import AutoTokenizer

from dhrd import DHRDTrainer, DualHeadReasoningModel, load_json_dataset

tokenizer = AutoTokenizer.from_pretrained("gpt2")
tokenizer.pad_token = tokenizer.eos_token

train_dataset = load_json_dataset(
    file_path="data/train.json", tokenizer=tokenizer, max_input_length=512, max_rationale_length=1024
)
eval_dataset = load_json_dataset(
    file_path="data/eval.json", tokenizer=tokenizer, max_input_length=512, max_rationale_length=1024
)
train_dataloader = DataLoader(train_dataset, batch_size=8, shuffle=True, collate_fn=train_dataset.collate_fn)
eval_dataloader = DataLoader(eval_dataset, batch_size=8, collate_fn=eval_dataset.collate_fn)

model = DualHeadReasoningModel(model_name_or_path="gpt2", num_labels=2, dropout_prob=0.1, loss_weight_alpha=0.5)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, betas=(0.9, 0.999), weight_decay=0.01)
device = "cuda" if torch.cuda.is_available() else "cpu"

trainer = DHRDTrainer(
    model=model,
    train_dataloader=train_dataloader,
    eval_dataloader=eval_dataloader,
    optimizer=optimizer,
    device=device,
)
history = trainer.train(num_epochs=3)
"""

_EVALUATE = """
from dhrd import DHRDEvaluator

evaluator = DHRDEvaluator(model=model, device=device)
metrics = evaluator.evaluate(eval_dataloader)
"""

_MLFLOW = """
from dhrd import configure_mlflow, enable_autologging, mlflow_run

configure_mlflow(tracking_uri="file:./mlruns", experiment="dhrd")
enable_autologging()

with mlflow_run("training", tags={"model": "gpt2", "task": "classification"}):
    trainer.train(num_epochs=1)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Path:
    """A working directory as the documents assume it: `gpt2` (a tiny one, without a pad token), data/, configs/."""
    tokenizer = make_tokenizer(eos="<|endoftext|>", pad=None)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=1024)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    (tmp_path / "data").mkdir()
    labelled = [row | {"label": number % 2} for number, row in enumerate(rows(32, labels=("no", "yes")))]
    (tmp_path / "data" / "train.json").write_text(json.dumps(labelled[:20]), encoding="utf-8")
    (tmp_path / "data" / "eval.json").write_text(json.dumps(labelled[20:]), encoding="utf-8")
    (tmp_path / "configs").symlink_to(repository / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*snippets: str) -> dict[str, Any]:
    """The names after snippets that follow each other."""
    names: dict[str, Any] = {}
    for snippet in snippets:
        exec(compile(snippet, "snippet", "exec"), names)
    return names


def test_training_and_evaluating(here: Path) -> None:
    names = run(_TRAIN, _EVALUATE)
    history, metrics, model = names["history"], names["metrics"], names["model"]
    losses = [row for row in history if "loss" in row]
    assert [row["step"] for row in losses] == list(range(1, 10))  # 20 rows, 8 a batch, 3 epochs
    for row in losses:
        assert row["loss"] == pytest.approx(0.5 * row["classification_loss"] + 0.5 * row["lm_loss"])
    assert losses[-1]["lm_loss"] < losses[0]["lm_loss"]
    evaluated = [row for row in history if "eval_accuracy" in row]
    assert [row["step"] for row in evaluated] == [3, 6, 9]
    assert metrics["num_examples"] == 12
    assert metrics["accuracy"] == pytest.approx(evaluated[-1]["eval_accuracy"])
    assert {"accuracy", "macro_f1", "log_loss", "per_class", "confusion_matrix", "interval_95"} <= set(metrics)
    batch = next(iter(names["train_dataloader"]))
    assert model(batch.to(names["device"])).logits_BC.shape == (8, 2)


def test_the_limits_are_tokens(here: Path) -> None:
    script = _TRAIN.replace(
        "max_input_length=512, max_rationale_length=1024", "max_input_length=9, max_rationale_length=40"
    )
    names = run(script.partition("model = ")[0])
    examples = names["train_dataset"].examples
    assert max(len(one.input_ids) for one in examples) == 9
    assert max(len(one.input_ids) + len(one.continuation_ids) for one in examples) == 40


@pytest.fixture
def fresh_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setattr(THIS_PROCESS, "is_configured", False)
    monkeypatch.setattr(THIS_PROCESS, "autologs", False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    yield mlflow
    mlflow.set_tracking_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def test_tracking(here: Path, fresh_mlflow: Any) -> None:
    run(_TRAIN.replace("history = trainer.train(num_epochs=3)", ""), _MLFLOW)
    client = fresh_mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("dhrd").experiment_id])
    assert (found.info.run_name, found.info.status) == ("training", "FINISHED")
    assert found.data.tags["model"] == "gpt2"
    assert found.data.tags["task"] == "classification"
    assert found.data.params["num_epochs"] == "1"
    points = client.get_metric_history(found.info.run_id, "loss")
    assert sorted(point.step for point in points) == [1, 2, 3]
    assert all(math.isfinite(point.value) for point in points)
    assert (here / "mlruns").is_dir()


def test_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = "--config", "configs/dhrd_config.yaml"
    small = "--batch_size", "16", "--learning_rate", "3e-5", "--num_epochs", "1", "--device", "cpu"
    trained = run_here(capsys, "train", *config, *small)
    assert trained.code == 0, trained.err
    assert "gpt2 has no padding token; using its eos token '<|endoftext|>'" in trained.err
    record = json.loads((here / "output" / "run.json").read_text(encoding="utf-8"))["config"]
    assert (record["training"]["batch_size"], record["training"]["num_epochs"]) == (16, 1)
    assert record["training"]["learning_rate"] == 3e-5
    assert record["loss"] == record["loss"] | {"classification_weight": 0.5, "reasoning_weight": 0.5}
    pad = json.loads((here / "output" / "config.json").read_text(encoding="utf-8"))["pad_token_id"]
    assert isinstance(pad, int)
    again = run_here(capsys, "train", *config, *small, "--checkpoint", "output")
    assert (again.code, again.err) == (0, "output: training is already finished; nothing to do\n")
    evaluated: Ended = run_here(capsys, "evaluate", *config, "--checkpoint", "output", "--device", "cpu")
    assert evaluated.code == 0, evaluated.err
    assert "the run's own data, validation: 12 rows" in evaluated.out
