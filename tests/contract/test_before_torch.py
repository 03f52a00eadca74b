"""What is wrong with settings and files is said before torch is loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import typer.main

from dhrd.cli import app
from helpers.rows import write_jsonl
from helpers.runs import environment

_CHILD = """
import json, sys
from dhrd.cli import main
for line in sys.stdin:
    try:
        main(json.loads(line))
        code = 0
    except SystemExit as stop:
        code = stop.code
    print(json.dumps([code, "torch" in sys.modules]), flush=True)
    print("---", file=sys.stderr, flush=True)
"""

_ASKED = "--teacher openai:x --set data.labels=[x,y]"
_CALLS = {
    "train": "data.train is not set: give --set data.train=FILE",
    "train --config absent.yaml": "absent.yaml: no such config file",
    "train --set data.trian=rows.jsonl": "did you mean data.train?",
    "train --set training.num_epochs=0": "training.num_epochs",
    "train --set data.train=absent.jsonl": "absent.jsonl: no such file",
    "train --set data.train=rows.txt": "rows.txt: unknown kind of file",
    "train --set data.train=empty.jsonl": "empty.jsonl: no rows",
    "train --set data.train=superglue:nope": "superglue:nope: no such task",
    "train --set data.train=other.jsonl": "map it with --set data.columns.input_text=COLUMN",
    "train --set data.train=rows.jsonl --set data.columns.label=absent": "data.columns names",
    "train --set data.train=rows.jsonl --set data.input_template={{absent}}": "'absent' is undefined",
    "train --set data.train=rows.jsonl --set data.validation=absent.jsonl": "absent.jsonl: no such file",
    "train --set data.train=rows.jsonl --set training.selection=best": "set data.dev_share",
    "train --set data.train=rows.jsonl --output-dir busy": "replace it with --overwrite",
    "train --set data.train=rows.jsonl --output-dir busy --overwrite": "give another output_dir",
    "train --checkpoint absent": "--checkpoint absent: no such directory",
    "init absent.jsonl": "absent.jsonl: no such file",
    "init other.jsonl --output busy/settings.txt": "what is written is YAML",
    "config show absent.yaml": "absent.yaml: no such config file",
    "doctor --json told.txt": "what is written is JSON",
    "reproduce main --config absent.yaml": "absent.yaml: no such config file",
    "reproduce mian": "mian: no such study; give one of main, ablation",
    "reproduce main --arms pooled,nope": "--arms nope: main has pooled",
    "reproduce main --tasks nope": "--tasks nope: unknown; give all, or of",
    "reproduce main --encoder here": "--encoder here: no arm of this run has one",
    "reproduce main --grid training.learning_rate": "--grid training.learning_rate: write it as",
    "reproduce main --set training.num_epoch=2": "did you mean training.num_epochs?",
    "reproduce controlled --set data.train=rows.jsonl": "controlled makes its own rows",
    "reproduce reasoning --set data.train=rows.jsonl": "data.validation is not set",
    "evaluate": "give --model DIR",
    "evaluate --model absent": "absent: no such directory",
    "evaluate --model busy": "busy: not a dhrd artifact",
    "predict --model absent --input rows.jsonl --output new.jsonl": "absent: no such directory",
    "predict --model model --input absent.jsonl --output new.jsonl": "absent.jsonl: no such file",
    "predict --model model --input other.jsonl --output new.jsonl": "map it with --set data.columns.input_text=COLUMN",
    "predict --model model --input rows.jsonl --output new.txt": "give a name that ends in .jsonl",
    "evaluate --model model --data empty.jsonl": "empty.jsonl: no rows",
    "decide --model absent --sets 0.9": "absent: no such directory",
    "predict --model model --input rows.jsonl --output new.jsonl --on-error go": "--on-error go: unknown; give stop or",
    "decide --model model --data rows.jsonl --target accuracy=0.9": "accuracy=0.9",
    "decide --model model --data absent.jsonl --sets 0.9": "absent.jsonl: no such file",
    "serve --model absent": "absent: no such directory",
    "benchmark --model absent": "absent: no such directory",
    "benchmark --model model --data absent.jsonl": "absent.jsonl: no such file",
    "benchmark --model model --against guess": "--against guess: unknown; give some of pipeline, loop",
    "benchmark --model model --against pipeline,onnx": "--against onnx: give --onnx DIR",
    "benchmark --model model --batch-sizes 1,zero": "give numbers above 0",
    "export --model absent --output new": "absent: no such directory",
    "export --model model --output new --data absent.jsonl": "absent.jsonl: no such file",
    "select absent.jsonl -n 1": "absent.jsonl: no such file",
    "select rows.jsonl -n 1 --strategy margin": "--strategy margin asks a model, and none is given: --model DIR",
    "select rows.jsonl -n 1 --model absent": "absent: no such directory",
    "select rows.jsonl -n 1 --model absent --strategy best": "--strategy best: unknown; give one of random",
    "select absent.jsonl -n 1 --model model": "absent.jsonl: no such file",
    "select absent.jsonl -n 1 --for rationale --folds 2": "absent.jsonl: no such file",
    "update --model absent --new rows.jsonl --replay rows.jsonl --output new": "absent: no such directory",
    "update --model model --new absent.jsonl --replay rows.jsonl --output new": "absent.jsonl: no such file",
    "update --model model --new rows.jsonl --replay absent.jsonl --output new": "absent.jsonl: no such file",
    "update --model model --new rows.jsonl --replay rows.jsonl --output busy": "--output busy: is not empty",
    "update --model model --new rows.jsonl --output new": "give --replay, or --eval-old",
    "label --output new.jsonl": "no rows are given: --data FILE",
    "label --output new.jsonl --data rows.jsonl": "no teacher is given: --teacher openai:MODEL",
    f"label --data absent.jsonl --output new.jsonl {_ASKED}": "absent.jsonl: no such file",
    f"label --data empty.jsonl --output new.jsonl {_ASKED} --dry-run": "empty.jsonl: no rows",
    "rationales generate --data rows.jsonl --output new.jsonl": "no teacher is given: --teacher openai:MODEL",
    f"rationales generate --data absent.jsonl --output new.jsonl {_ASKED}": "absent.jsonl: no such file",
    f"rationales generate --data rows.jsonl --output new.txt {_ASKED}": "give a name that ends in .jsonl",
    "compare absent.jsonl other.jsonl": "absent.jsonl: no such file",
    "rationales generate --output new.jsonl": "no rows are given: --data FILE",
    "rationales audit absent.jsonl": "no rows are given: --data FILE",
    "rationales audit absent.jsonl --data rows.jsonl": "absent.jsonl: no such file",
    "rationales convert absent.jsonl --output new.jsonl": "absent.jsonl: no such file",
    "audit labels --output new.jsonl": "no rows are given: --data FILE",
    "audit labels --output new.jsonl --data absent.jsonl": "absent.jsonl: no such file",
}
"""What is called, and what it must say."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, bool, str]]:
    """By the call its exit code, whether torch was loaded by then, and what it said, all of one process."""
    directory = tmp_path_factory.mktemp("wrong")
    write_jsonl(directory / "rows.jsonl", [{"input_text": "a", "label": "x"}, {"input_text": "b", "label": "y"}])
    write_jsonl(directory / "other.jsonl", [{"body": "a", "label": "x"}])
    (directory / "empty.jsonl").touch()
    (directory / "busy").mkdir()
    (directory / "busy" / "notes.md").touch()
    (directory / "model").mkdir()
    kind = {"format_version": 1, "kind": "sequence_classifier", "labels": {"names": ["x", "y"]}, "versions": {}}
    (directory / "model" / "dhrd.json").write_text(json.dumps(kind), encoding="utf-8")
    (directory / "model" / "run.json").write_text('{"config": {}}', encoding="utf-8")
    requests = "".join(json.dumps(call.split()) + "\n" for call in _CALLS)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=requests, capture_output=True, text=True, env=environment(), cwd=directory
    )
    answers, said = map(json.loads, done.stdout.splitlines()), done.stderr.split("---\n")
    return {call: (*answer, text) for call, answer, text in zip(_CALLS, answers, said, strict=False)}


def test_every_command_is_among_them() -> None:
    group: Any = typer.main.get_command(app)
    commands = {name: getattr(command, "commands", {"": None}) for name, command in group.commands.items()}
    names = {f"{name} {part}".strip() for name, parts in commands.items() for part in parts}
    assert len(names) == 20
    without = {name for name in names if not any(f"{call} ".startswith(f"{name} ") for call in _CALLS)}
    assert without == {"config schema"}, "which reads nothing"


@pytest.mark.parametrize("call", _CALLS)
def test_it_is_said_before_torch_is_loaded(ended: dict[str, tuple[int, bool, str]], call: str) -> None:
    code, has_torch, said = ended[call]
    assert (code, _CALLS[call] in said) == (2, True), said
    assert len([line for line in said.splitlines() if line.startswith("dhrd: error: ")]) == 1
    assert not has_torch
