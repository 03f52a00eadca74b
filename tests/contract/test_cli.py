"""The command line: flags, exit codes, the files that scripts read, and every default of the contract."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import typer.main
import yaml

from dhrd.cli import app
from dhrd.config import RunConfig, load_config, resolve
from helpers.rows import write_jsonl
from helpers.runs import LABELS, Ended, flags, read_jsonl, rows, run_here, settings, write_rows

Capsys = pytest.CaptureFixture[str]


CONTRACT: dict[str, Any] = {
    "model": {
        "revision": None,
        "head": "linear",
        "pooling": "last",
        "dropout": 0.1,
        "lora": None,
        "quantization": None,
        "freeze_layers": 0,
        "dtype": None,
    },
    "data": {
        "train": None,
        "validation": None,
        "test": None,
        "rationales": None,
        "superglue_root": None,
        "columns": {},
        "input_template": "{{ input_text }}",
        "chat": False,
        "labels": None,
        "max_input_tokens": 512,
        "max_sequence_tokens": 1024,
        "rationale_mode": "aligned",
        "train_limit": None,
        "train_share": 1,
        "rationale_share": 1,
        "validation_limit": None,
        "dev_share": 0,
    },
    "loss": {
        "classification_weight": 1,
        "reasoning_weight": 1,
        "reasoning_schedule": "constant",
        "lm_targets": "all",
        "class_weights": None,
        "label_smoothing": 0,
    },
    "training": {
        "num_epochs": 3,
        "learning_rate": 5e-5,
        "head_learning_rate": 1e-3,
        "batch_size": 8,
        "gradient_accumulation_steps": 1,
        "schedule": "linear",
        "warmup_share": 0.1,
        "warmup_steps": None,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "mixed_precision": "auto",
        "gradient_checkpointing": False,
        "save_steps": None,
        "eval_steps": None,
        "selection": "last",
        "metric": None,
        "patience": None,
        "calibrate": False,
    },
    "tracking": {"report_to": [], "uri": None, "experiment": "dhrd", "run_name": None},
    "teacher": {
        "name": None,
        "base_url": None,
        "template": None,
        "label_hidden": False,
        "samples": 1,
        "attempts": 3,
        "temperature": None,
        "top_p": None,
        "seed": None,
        "reasoning_effort": None,
        "extra_body": {},
        "max_tokens": 512,
        "timeout_s": 120,
        "max_retries": 6,
        "concurrency": 16,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "input_price": None,
        "output_price": None,
        "max_cost": None,
        "tokenizer": None,
        "batch_size": 16,
    },
    "output_dir": "output",
    "seed": 0,
}
"""The names that scripts rely on, with their defaults; `model.name_or_path` has one that nobody relies on."""


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name: value}
    return found


ADDED = {
    "data.csv_delimiter": ",",
    "data.label_noise": 0.0,
    "data.label_separator": None,
    "data.multi_label": False,
    "loss.classification_schedule": "constant",
    "loss.keyword_weight": 0.0,
    "loss.privileged_weight": 0.0,
    "model.head_init": "random",
    "model.keep_head": False,
    "tasks": None,
    "teacher.labels": None,
    "teacher.votes": 5,
    "training.cache_frozen": False,
    "training.compile": False,
    "training.group_by_prefix": False,
    "training.max_tokens_per_micro_batch": None,
    "training.pack_rows": False,
    "training.share_dropout": False,
    "training.share_prefixes": "auto",
}
"""Settings beyond the contract: each leaves a run as it was unless it is given."""


def test_every_default_of_the_contract_is_the_schemas() -> None:
    ours = flat(RunConfig().model_dump(mode="json"))
    theirs = flat(CONTRACT)
    assert len(theirs) == 77
    assert {name: ours.get(name, "absent") for name in theirs} == theirs
    assert {name: ours[name] for name in set(ours) - set(theirs) - {"model.name_or_path", "model.num_labels"}} == ADDED
    lora = resolve({"model": {"lora": {}}}).model.lora
    assert lora is not None
    assert lora.model_dump() == {"r": 16, "alpha": 32, "dropout": 0.1, "target_modules": None}


def test_config_show_prints_settings_that_load_again(capsys: Capsys, tmp_path: Path) -> None:
    shown = run_here(capsys, "config", "show")
    assert shown.code == 0
    assert flat(yaml.safe_load(shown.out)) == flat(RunConfig().model_dump(mode="json"))
    changed = run_here(capsys, "config", "show", "--set", "training.warmup_steps=5", "--set", "model.lora.r=4")
    (tmp_path / "c.yaml").write_text(changed.out, encoding="utf-8")
    again = run_here(capsys, "config", "show", tmp_path / "c.yaml", "--set", "training.warmup_steps=null")
    tree = yaml.safe_load(again.out)
    assert (tree["training"]["warmup_steps"], tree["model"]["lora"]["r"]) == (None, 4)


def test_the_documents_config_resolves(capsys: Capsys, repository: Path) -> None:
    found = run_here(capsys, "config", "show", "--config", repository / "configs" / "dhrd_config.yaml")
    assert found.code == 0, found.err
    tree = flat(yaml.safe_load(found.out))
    expected = {
        "model.name_or_path": "gpt2",
        "model.num_labels": 2,
        "model.dropout": 0.1,
        "loss.classification_weight": 0.5,
        "loss.reasoning_weight": 0.5,
        "data.train": "data/train.json",
        "data.validation": "data/eval.json",
        "data.max_input_tokens": 512,
        "data.max_sequence_tokens": 1024,
        "training.batch_size": 8,
        "training.num_epochs": 3,
        "training.learning_rate": 5e-5,
        "training.warmup_share": 0.1,
        "training.schedule": "linear",
        "training.weight_decay": 0.01,
        "training.clip_norm": 1.0,
    }
    assert {name: tree[name] for name in expected} == expected


def all_flags(*, with_value: bool = False) -> dict[str, set[str]]:
    """The long flags of each command; of all, or of those that take a value."""
    group = typer.main.get_command(app)
    found: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        for name, child in getattr(command, "commands", {}).items():
            walk(child, f"{path} {name}".strip())
        params = [one for one in command.params if not (with_value and getattr(one, "is_flag", False))]
        found[path] = {flag for one in params for flag in one.opts if flag.startswith("--")}

    walk(group, "")
    return found


def test_the_commands_have_the_flags_that_scripts_use() -> None:
    found = all_flags()
    assert {"train", "evaluate", "predict", "doctor", "config show", "config schema"} <= set(found)
    assert found["train"] >= {
        *("--config", "--set", "--batch-size", "--learning-rate", "--num-epochs", "--device", "--checkpoint"),
        *("--output-dir", "--seed", "--overwrite"),
    }
    assert found["evaluate"] >= {
        "--model",
        "--data",
        "--split",
        "--json",
        "--predictions",
        "--config",
        "--set",
        "--checkpoint",
    }
    assert found["predict"] >= {"--model", "--input", "--output", "--set"}
    assert found["rationales generate"] >= {
        *("--data", "--output", "--teacher", "--base-url", "--label-hidden", "--samples", "--attempts", "--max-tokens"),
        *("--retry-rejected", "--max-cost", "--dry-run", "--limit", "--require-all", "--config", "--set", "--device"),
    }
    assert found["rationales audit"] >= {"--data", "--json", "--html", "--fix", "--set"}
    assert found["rationales convert"] >= {"--output", "--id", "--rationale", "--rating"}


def test_every_flag_is_taken_in_dashes_and_underscores(capsys: Capsys) -> None:
    seen = 0
    valued = all_flags(with_value=True)
    for command, known in all_flags().items():
        for flag in sorted(flag for flag in known if command and "-" in flag[2:]):  # dhrd's own install completion
            for form in (flag, "--" + flag[2:].replace("-", "_")):
                # Were the flag unknown, parsing would stop before --help is heeded
                given = f"{form}=1" if flag in valued[command] else form
                ended = run_here(capsys, *command.split(), given, "--help")
                assert ended.code == 0, ended.err
                seen += 1
    assert seen == 148
    assert run_here(capsys, "train", "--batch_sizes=1", "--help").code == 2


def test_no_command_and_an_unknown_one(capsys: Capsys) -> None:
    assert run_here(capsys).code == 2
    assert "train" in run_here(capsys, "--help").out
    assert run_here(capsys, "trian").code == 2


@pytest.fixture(scope="module")
def trained(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with train.jsonl, validation.jsonl and the artifact `out`."""
    directory = tmp_path_factory.mktemp("trained")
    write_rows(directory)
    from dhrd import train

    fast = ("training.learning_rate=0.01", "training.head_learning_rate=0.01", "training.selection=best")
    overrides = settings(tiny_backbone, directory, *fast, "training.num_epochs=6")
    train(load_config(overrides=overrides), device="cpu")
    return directory


def test_nothing_but_plain_lines_on_stderr(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    """No progress bar, no library's chatter, where stderr is not a terminal."""
    write_rows(tmp_path)
    ended = run_here(capsys, "train", *flags(settings(tiny_backbone, tmp_path)), "--device", "cpu")
    rows, labels, updates, device, first, last = ended.err.splitlines()
    assert rows == "train: 20 rows, 15 with a rationale; cut: 0 inputs, 0 rationales"
    assert (labels, updates[:28]) == ("labels: 'keep' 7, 'return' 7, 'repair' 6", "updates: 6 (2 epochs of 3); ")
    assert device.startswith("on ") and device.endswith(" weights are trained")
    assert first.startswith("update 3 of 6: accuracy 0.") and last.startswith("update 6 of 6: accuracy 0.")


METRICS = {
    *("num_examples", "accuracy", "macro_f1", "weighted_f1", "log_loss", "official", "interval_95", "per_class"),
    *("absent", "confusion_matrix", "selected_on"),
}


def test_train_evaluate_predict(capsys: Capsys, trained: Path, tmp_path: Path) -> None:
    files = "--json", tmp_path / "m.json", "--predictions", tmp_path / "p.jsonl"
    ended = run_here(capsys, "evaluate", "--model", trained / "out", *files, "--device", "cpu")
    assert (ended.code, ended.err) == (0, "")
    assert "the run's own data, validation: 9 rows" in ended.out
    metrics = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert set(metrics) == METRICS
    assert metrics["num_examples"] == 9
    assert metrics["selected_on"] is True  # selection: best looked at these rows
    assert set(metrics["interval_95"]) == {"accuracy", "macro_f1", "weighted_f1"}
    intervals = {name: ends for name, ends in metrics["interval_95"].items() if ends is not None}  # it may not vary
    assert "accuracy" in intervals
    assert all(low <= metrics[name] <= high for name, (low, high) in intervals.items())
    assert set(metrics["per_class"]) == set(LABELS)
    assert {frozenset(one) for one in metrics["per_class"].values()} == {
        frozenset({"precision", "recall", "f1", "support"})
    }
    assert sum(map(sum, metrics["confusion_matrix"]["counts"])) == 9
    evaluated = read_jsonl(tmp_path / "p.jsonl")
    given = read_jsonl(trained / "validation.jsonl")
    assert len(evaluated) == 9
    for row, before in zip(evaluated, given, strict=True):
        assert list(row) == ["id", "input_text", "gold", "label", "probabilities"]
        assert (row["id"], row["input_text"], row["gold"]) == (before["id"], before["input_text"], before["label"])
        assert set(row["probabilities"]) == set(LABELS)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].__getitem__)
    assert sum(row["label"] == row["gold"] for row in evaluated) / 9 == pytest.approx(metrics["accuracy"])
    out = tmp_path / "out.jsonl"
    source = "--input", trained / "validation.jsonl", "--output", out
    ended = run_here(capsys, "predict", "--model", trained / "out", *source, "--device", "cpu", "--dtype", "float32")
    assert (ended.code, ended.err, ended.out) == (0, "", f"9 rows are in {out}\n")
    predicted = read_jsonl(out)
    for row, before in zip(predicted, evaluated, strict=True):
        assert list(row) == ["id", "label", "probabilities"]
        assert (row["id"], row["label"]) == (before["id"], before["label"])
        assert row["probabilities"] == pytest.approx(before["probabilities"], abs=1e-5)


def test_other_rows_are_not_selected_on(capsys: Capsys, trained: Path, tmp_path: Path) -> None:
    data = "--data", trained / "train.jsonl", "--json", tmp_path / "m.json", "--limit", "5"
    assert run_here(capsys, "evaluate", "--model", trained / "out", *data).code == 0
    metrics = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert (metrics["num_examples"], metrics["selected_on"]) == (5, False)


def test_predict_reads_every_format_in_order(capsys: Capsys, trained: Path, tmp_path: Path) -> None:
    """More rows than are read ahead, of unequal length, unlabelled."""
    given = [{"id": f"n{i}", "input_text": f"row {i} " + "y" * (i * 37 % 23)} for i in range(1100)]
    write_jsonl(tmp_path / "in.jsonl", given)
    (tmp_path / "in.json").write_text(json.dumps(given), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(given), tmp_path / "in.parquet")
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "input_text"])
        writer.writeheader()
        writer.writerows(given)
    found = {}
    for kind in ("jsonl", "json", "csv", "parquet"):
        files = "--input", tmp_path / f"in.{kind}", "--output", tmp_path / f"out-{kind}.jsonl"
        ended = run_here(capsys, "predict", "--model", trained / "out", *files, "--device", "cpu")
        assert ended.code == 0, ended.err
        found[kind] = read_jsonl(tmp_path / f"out-{kind}.jsonl")
        assert [row["id"] for row in found[kind]] == [row["id"] for row in given]
        assert not list(tmp_path.glob(".*"))
    assert found["jsonl"] == found["json"] == found["csv"] == found["parquet"]
    assert len({round(row["probabilities"]["keep"], 6) for row in found["csv"]}) > 20


def test_set_is_taken_where_an_artifact_is_used(capsys: Capsys, trained: Path, tmp_path: Path) -> None:
    renamed = [{"body": row["input_text"], "gold": row["label"], "key": row["id"]} for row in rows(6)]
    data = write_jsonl(tmp_path / "other.jsonl", renamed)
    columns = flags(["data.columns={input_text: body, label: gold, id: key}"])
    ended = run_here(capsys, "evaluate", "--model", trained / "out", "--data", data, *columns, "--json", tmp_path / "m")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "m").read_text(encoding="utf-8"))["num_examples"] == 6
    files = "--input", data, "--output", tmp_path / "p.jsonl"
    ended = run_here(capsys, "predict", "--model", trained / "out", *files, *columns)
    assert ended.code == 0, ended.err
    assert [row["id"] for row in read_jsonl(tmp_path / "p.jsonl")] == [row["id"] for row in rows(6)]
    nothing = flags(["data.validation=null", "training.selection=last"])
    ended = run_here(capsys, "evaluate", "--model", trained / "out", *nothing)
    assert (ended.code, ended.err) == (
        2,
        "dhrd: error: no rows to evaluate: give --data SPEC, or set data.validation\n",
    )
    unknown = flags(["data.colums={}"])
    for command in (["evaluate"], ["predict", *map(str, files)]):
        ended = run_here(capsys, *command, "--model", trained / "out", *unknown)
        assert ended.code == 2
        assert "data.colums: unknown setting; did you mean data.columns?" in ended.err


def test_evaluate_takes_the_runs_splits(capsys: Capsys, trained: Path, tmp_path: Path) -> None:
    for split, count in (("train", 20), ("validation", 9)):
        out = tmp_path / f"{split}.json"
        assert run_here(capsys, "evaluate", "--model", trained / "out", "--split", split, "--json", out).code == 0
        assert json.loads(out.read_text(encoding="utf-8"))["num_examples"] == count
    ended = run_here(capsys, "evaluate", "--model", trained / "out", "--split", "test")
    assert (ended.code, ended.err) == (2, "dhrd: error: no rows to evaluate: give --data SPEC, or set data.test\n")


def test_the_template_is_applied_at_inference(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    given = [{"a": f"one {i}", "b": LABELS[i % 3], "label": LABELS[i % 3], "id": f"q{i}"} for i in range(12)]
    write_jsonl(tmp_path / "train.jsonl", given)
    overrides = settings(tiny_backbone, tmp_path, "data.validation=null", "loss.reasoning_weight=0")
    template = ["data.input_template={{ a }} / {{ b }}:"]
    ended = run_here(capsys, "train", *flags([*overrides, f"data.input_template='{template[0].partition('=')[2]}'"]))
    assert ended.code == 0, ended.err
    arguments = "--data", tmp_path / "train.jsonl", "--predictions", tmp_path / "p.jsonl"
    assert run_here(capsys, "evaluate", "--model", tmp_path / "out", *arguments).code == 0
    assert [row["input_text"] for row in read_jsonl(tmp_path / "p.jsonl")] == [f"{r['a']} / {r['b']}:" for r in given]


def test_multi_label_end_to_end(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    sets: list[list[str]] = [["keep"], ["return", "repair"], [], ["keep", "repair"], ["return"]]
    given = [
        row | {"label": sets[i % 5], "input_text": f"{i} {' '.join(sets[i % 5])}"} for i, row in enumerate(rows(30))
    ]
    write_jsonl(tmp_path / "train.jsonl", given)
    write_jsonl(tmp_path / "validation.jsonl", given[:10])
    more = ("training.learning_rate=0.02", "training.head_learning_rate=0.02", "training.num_epochs=8")
    ended = run_here(capsys, "train", *flags(settings(tiny_backbone, tmp_path, *more)), "--device", "cpu")
    assert ended.code == 0, ended.err
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["problem_type"] == "multi_label_classification"
    files = "--json", tmp_path / "m.json", "--predictions", tmp_path / "e.jsonl"
    assert run_here(capsys, "evaluate", "--model", tmp_path / "out", *files).code == 0
    metrics = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert set(metrics) == METRICS | {"micro_f1"}
    assert metrics["accuracy"] > 0.2
    evaluated = read_jsonl(tmp_path / "e.jsonl")
    assert [sorted(row["gold"]) for row in evaluated] == [sorted(row["label"]) for row in given[:10]]
    io = "--input", tmp_path / "validation.jsonl", "--output", tmp_path / "p.jsonl"
    assert run_here(capsys, "predict", "--model", tmp_path / "out", *io).code == 0
    predicted = read_jsonl(tmp_path / "p.jsonl")
    for row in [*evaluated, *predicted]:
        assert row["label"] == [name for name, p in row["probabilities"].items() if p >= 0.5]
    assert len({tuple(row["label"]) for row in predicted}) > 1


def test_a_superglue_task_means_its_own_splits(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    names = ("entailment", "contradiction", "neutral")
    for split, count in (("train", 12), ("val", 6)):
        given = [
            {"premise": f"p{i} {names[i % 3]}", "hypothesis": f"h{i}", "label": names[i % 3], "idx": i}
            for i in range(count)
        ]
        (tmp_path / "CB").mkdir(exist_ok=True)
        write_jsonl(tmp_path / "CB" / f"{split}.jsonl", given)
    reasons = [{"id": f"cb-train-{i}", "rationale": "because"} for i in range(1, 13)]
    write_jsonl(tmp_path / "rationales.jsonl", reasons)
    overrides = settings(
        tiny_backbone,
        tmp_path,
        *("data.train=superglue:cb", "data.validation=superglue:cb", f"data.superglue_root={tmp_path}"),
        f"data.rationales={tmp_path / 'rationales.jsonl'}",
    )
    ended = run_here(capsys, "train", *flags(overrides), "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "rationales: 11 rows matched, 1 rows without one, 1 rationales of no row" in ended.err
    assert "train: 12 rows, 11 with a rationale" in ended.err
    files = "--data", "superglue:cb", "--json", tmp_path / "m.json", "--predictions", tmp_path / "p.jsonl"
    ended = run_here(capsys, "evaluate", "--model", tmp_path / "out", *files)
    assert ended.code == 0, ended.err
    metrics = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert (metrics["official"], metrics["num_examples"], metrics["selected_on"]) == (
        ["macro_f1", "accuracy"],
        6,
        False,
    )
    predicted = read_jsonl(tmp_path / "p.jsonl")
    assert [row["id"] for row in predicted] == [f"cb-validation-{i}" for i in range(6)]
    assert [row["gold"] for row in predicted] == list(names) * 2
    assert all("p0 entailment" in row["input_text"] for row in predicted[:1])


def test_the_pooled_baseline_needs_no_rationale(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path, reasoned=0)
    ended: Ended = run_here(
        capsys, "train", *flags(settings(tiny_backbone, tmp_path, "loss.reasoning_weight=0")), "--device", "cpu"
    )
    assert ended.code == 0, ended.err
    logged = read_jsonl(tmp_path / "out" / "metrics.jsonl")
    assert {row["lm_loss"] for row in logged if "lm_loss" in row} == {0}
