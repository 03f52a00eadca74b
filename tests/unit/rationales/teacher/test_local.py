"""A teacher in this process."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dhrd.rationales.generate import generate_rationales
from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.endpoint import FaultyEndpoint
from helpers.models import make_backbone
from helpers.rows import make_tokenizer
from helpers.runs import flags, read_jsonl, run_here, save_backbone
from helpers.teacher import ids, manifest, teacher_config, write_cases

Capsys = pytest.CaptureFixture[str]


def test_a_local_teacher_writes_what_it_decodes(tmp_path: Path) -> None:
    """A random model writes no sentinel: every row is a counted rejection, with what it wrote in the store."""
    data, output = write_cases(tmp_path / "d.jsonl", 7), tmp_path / "o.jsonl"
    backbone = make_backbone("llama", max_position_embeddings=2048)
    config = teacher_config(FaultyEndpoint(), name="local:tiny", base_url=None, max_tokens=8, batch_size=3)
    found = generate_rationales(config, data, output, teacher=backbone)
    assert found.num_rationales == 0
    assert set(found.rejected) <= {"cut", "no_sentinel", "empty"}
    assert found.rejected.total() == 7
    assert found.tally.num_requests == found.tally.num_answers == 7  # greedy: asking again would change nothing
    assert found.tally.completion_tokens > 0
    assert manifest(output)["endpoint_hosts"] == []
    again = generate_rationales(config, data, output, teacher=backbone)
    assert again.tally.num_requests == 0


def test_a_local_teacher_that_samples_tries_again(tmp_path: Path) -> None:
    data = write_cases(tmp_path / "d.jsonl", 3)
    backbone = make_backbone("llama", max_position_embeddings=2048)
    settings = {"name": "local:tiny", "base_url": None, "max_tokens": 6, "temperature": 1.0, "attempts": 2}
    found = generate_rationales(
        teacher_config(FaultyEndpoint(), **settings), data, tmp_path / "o.jsonl", teacher=backbone
    )
    assert found.tally.num_requests == 6


def test_a_run_in_two_halves_draws_what_one_run_draws(tmp_path: Path) -> None:
    """Batches are cut otherwise after a stop; what is drawn for a row is the row's and its attempt's alone."""
    data = write_cases(tmp_path / "d.jsonl", 3)
    backbone = make_backbone("llama", max_position_embeddings=2048)
    settings = {"name": "local:tiny", "base_url": None, "max_tokens": 8, "temperature": 1.0, "attempts": 2}
    config = teacher_config(FaultyEndpoint(), **settings, batch_size=2)
    for output, limits in (("whole.jsonl", [None]), ("halves.jsonl", [1, None])):
        for limit in limits:
            generate_rationales(config, data, tmp_path / output, teacher=backbone, limit=limit)
    assert texts(tmp_path / "halves.answers.sqlite") == texts(tmp_path / "whole.answers.sqlite")


def texts(store: Path) -> dict[str, list[str]]:
    """All answers, by question, in the order in which they came."""
    found: dict[str, list[str]] = {}
    with closing(sqlite3.connect(store)) as db:
        for key, answer in db.execute("SELECT key, answer FROM answer ORDER BY number"):
            found.setdefault(key, []).append(json.loads(answer)["text"])
    assert len(found) == 3 and {len(set(of_row)) for of_row in found.values()} == {2}
    return found


def test_a_prompt_over_the_context_is_rejected(tmp_path: Path) -> None:
    rows = [
        {"id": "long", "input_text": "x" * 500, "label": "keep"},
        {"id": "short", "input_text": "x", "label": "keep"},
    ]
    (tmp_path / "t.jinja").write_text("{{ input }} {{ label }} {{ sentinel }}", encoding="utf-8")
    settings = {"name": "local:tiny", "base_url": None, "max_tokens": 8, "template": str(tmp_path / "t.jinja")}
    config = teacher_config(FaultyEndpoint(), **settings)
    backbone = make_backbone("llama", max_position_embeddings=256)
    found = generate_rationales(config, rows, tmp_path / "o.jsonl", teacher=backbone)
    assert found.rejected["failed"] == 1
    assert found.rejected.total() == 2


def test_local_teachers_are_loaded_and_use_their_chat_template(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    tokenizer = make_tokenizer(bos="<bos>", chat=True)

    def watched(model: Any, own: Any, prompts: Any, **settings: Any) -> list[list[int]]:
        seen.extend(tokenizer.decode(prompt) for prompt in prompts)
        return [own(f"It fits.\n{SENTINEL}\nkeep", add_special_tokens=False)["input_ids"] for _ in prompts]

    monkeypatch.setattr("dhrd.rationales.teacher.local.generate", watched)
    backbone = save_backbone(tmp_path / "tiny", bos="<bos>", chat=True)
    data, output = write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl"
    arguments = ["--data", data, "--output", output, "--teacher", f"local:{backbone}", "--device", "cpu"]
    done = run_here(capsys, "rationales", "generate", *arguments, *flags(["teacher.max_tokens=100"]))
    assert done.code == 0, done.err
    assert ids(output) == ["r0", "r1", "r2"]
    assert {row["rationale"] for row in read_jsonl(output)} == {"It fits."}
    assert all(text.startswith("<bos><|user|>") and text.endswith("<|end|><|assistant|>") for text in seen)
    assert len(seen) == 3
    backbone.rename(tmp_path / "elsewhere")
    again = run_here(capsys, "rationales", "generate", *arguments, *flags(["teacher.max_tokens=100"]))
    assert (again.code, len(seen)) == (0, 3)  # every row is settled: no model is needed
