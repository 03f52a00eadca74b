"""`--json -`: one JSON object on standard output, and what is said to people elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import dhrd
from helpers.endpoint import VotingEndpoint, serving
from helpers.rows import write_jsonl
from helpers.runs import LABELS, make_config, rows, run_here
from helpers.teacher import SENTINEL
from helpers.updates import write_new

_CALLS = {
    "init train.jsonl --output config.yaml": {"settings"},
    "train --output-dir new --device cpu --set data.validation=validation.jsonl": {"output_dir", "metrics"},
    "evaluate --model out": {"accuracy", "num_examples"},
    "evaluate --model out --predictions written.jsonl": {"accuracy", "num_examples"},
    "predict --model out --input rows.jsonl --output labels.csv": {"output", "num_rows", "num_resumed"},
    "decide --model out --data validation.jsonl --sets 0.5": {"coverage"},
    "decide --model out --clear": {"decision"},
    "compare answers.jsonl answers.jsonl": {"difference", "interval_95"},
    "benchmark --model out --against none --repeats 1 --limit 9 --latency-rows 1": {"data", "rows"},
    "select pool.jsonl -n 3 --model out --output ask.jsonl": {"output", "num_rows", "num_pool", "num_random"},
    "update --model out --new new.jsonl --replay train.jsonl --output updated --max-regression 1": {"published", "old"},
    "label --data pool.jsonl --output voted.jsonl --votes 2": {"rows", "gold"},
    "label --gold train.jsonl --output gold.jsonl --votes 2 --dry-run": {"rows", "gold"},
    "rationales generate --data train.jsonl --output asked.jsonl": {"output", "num_rows", "num_written", "rejected"},
    "rationales generate --data train.jsonl --output more.jsonl --dry-run": {"num_rows", "num_open", "cost"},
    "rationales audit told.jsonl --data train.jsonl": {"num_rows", "flags"},
    "rationales convert told.jsonl --output converted.jsonl": {"output", "num_rationales"},
    "audit labels --output doubted.jsonl --folds 2": {"num_rows", "num_doubted"},
    "config show": {"model", "data"},
    "doctor": {"versions"},
}
"""What is called, and some of what its object has."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Iterator[Path]:
    """An artifact, `out`, with the rows that it was made of and others, and a teacher."""
    directory = tmp_path_factory.mktemp("json")
    dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1"), device="cpu")
    told = [{"id": row["id"], "input_text": f"{row['id']} {row['input_text']}"} for row in rows(30)]
    write_jsonl(directory / "pool.jsonl", told)
    write_jsonl(directory / "rows.jsonl", told[:5])
    write_new(directory / "new.jsonl", label="keep")
    write_jsonl(directory / "told.jsonl", [row for row in rows(20) if "rationale" in row])
    answers = [{"id": row["id"], "gold": row["label"], "label": "keep"} for row in rows(9)]
    write_jsonl(directory / "answers.jsonl", answers)
    with (
        serving(VotingEndpoint(vote=lambda prompt, seed: f"It says so.\n{SENTINEL}\nkeep")) as endpoint,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(directory)
        patch.setenv("OPENAI_BASE_URL", endpoint.url)
        yield directory


@pytest.mark.parametrize("call", _CALLS)
def test_standard_output_is_one_object(
    call: str, desk: Path, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more: list[str] = []
    if call.startswith(("init", "train", "audit labels")):
        more = ["--set", f"model.name_or_path={tiny_backbone}"]
    if call.startswith(("train", "audit labels")):
        more += ["--set", "data.train=train.jsonl", "--set", "training.num_epochs=1"]
    if call.startswith(("label", "rationales generate")):
        labels = f"data.labels=[{', '.join(LABELS)}]"
        more = ["--teacher", "openai:tiny", "--set", labels, "--set", "teacher.seed=0"]
    if call.startswith("audit labels"):
        pytest.importorskip("cleanlab")
    ended = run_here(capsys, *call.split(), *more, "--json", "-")
    assert ended.code == 0, ended.err
    assert _CALLS[call] <= json.loads(ended.out).keys()
