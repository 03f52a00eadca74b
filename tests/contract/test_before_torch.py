"""What is wrong with settings and files is said before torch is loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
    "evaluate": "give --model DIR",
    "evaluate --model absent": "absent: no such directory",
    "evaluate --model busy": "busy: not a dhrd artifact",
    "predict --model absent --input rows.jsonl --output new.jsonl": "absent: no such directory",
    "decide --model absent --sets 0.9": "absent: no such directory",
    "serve --model absent": "absent: no such directory",
    "benchmark --model absent": "absent: no such directory",
    "export --model absent --output new": "absent: no such directory",
    "compare absent.jsonl other.jsonl": "absent.jsonl: no such file",
    "rationales generate --output new.jsonl": "no rows are given: --data FILE",
    "rationales audit absent.jsonl": "no rows are given: --data FILE",
    "rationales convert absent.jsonl --output new.jsonl": "absent.jsonl: no such file",
    "audit labels --output new.jsonl": "no rows are given: --data FILE",
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
    requests = "".join(json.dumps(call.split()) + "\n" for call in _CALLS)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=requests, capture_output=True, text=True, env=environment(), cwd=directory
    )
    answers, said = map(json.loads, done.stdout.splitlines()), done.stderr.split("---\n")
    return {call: (*answer, text) for call, answer, text in zip(_CALLS, answers, said, strict=False)}


@pytest.mark.parametrize("call", _CALLS)
def test_it_is_said_before_torch_is_loaded(ended: dict[str, tuple[int, bool, str]], call: str) -> None:
    code, has_torch, said = ended[call]
    assert (code, _CALLS[call] in said) == (2, True), said
    assert len([line for line in said.splitlines() if line.startswith("dhrd: error: ")]) == 1
    assert not has_torch
