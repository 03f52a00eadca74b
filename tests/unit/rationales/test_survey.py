"""What a run would ask, before it asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.rationales.generate import survey_rationales
from helpers.endpoint import FaultyEndpoint, serving
from helpers.runs import run_here, save_backbone
from helpers.teacher import ask, teacher_config, write_cases

Capsys = pytest.CaptureFixture[str]


def test_a_dry_run_sends_and_writes_nothing(tmp_path: Path, capsys: Capsys) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 30), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        config = teacher_config(endpoint, input_price=3, output_price=15, max_tokens=100)
        survey = survey_rationales(config, data, output)
        assert endpoint.num_requests == 0
        assert [path.name for path in tmp_path.iterdir()] == ["d.jsonl"]
        assert (survey.num_rows, survey.num_open) == (30, 30)
        assert survey.completion_tokens == 30 * 120
        assert survey.most_completion_tokens == 30 * 100 * 3
        ask(endpoint, data, output, limit=12)
        prompts = [len(body["messages"][0]["content"]) // 4 for body in endpoint.requests]
        survey = survey_rationales(config, data, output)
        assert (survey.num_open, survey.estimate.measured) == (18, True)
        assert survey.prompt_tokens == pytest.approx(18 * sum(prompts) / 12, rel=0.05)
        arguments = ["--data", data, "--output", output, "--teacher", "openai:tiny", "--base-url", endpoint.url]
        arguments += ["--input-price", "3", "--output-price", "15", "--dry-run"]
        shown = run_here(capsys, "rationales", "generate", *arguments)
        assert endpoint.num_requests == 12
    assert shown.code == 0
    assert "30 rows, 12 of them done; 18 to ask" in shown.out
    assert "expected, at most" in shown.out


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_no_rows_are_an_error_before_anyone_is_asked(tmp_path: Path, capsys: Capsys, more: list[str]) -> None:
    (tmp_path / "empty.jsonl").touch()
    given = [
        "--data",
        tmp_path / "empty.jsonl",
        "--output",
        tmp_path / "o.jsonl",
        "--set",
        "data.labels=[keep, return]",
    ]
    with serving(FaultyEndpoint()) as endpoint:
        teacher = ["--teacher", "openai:tiny", "--base-url", endpoint.url]
        for command in (["label"], ["rationales", "generate"]):
            ended = run_here(capsys, *command, *given, *teacher, *more)
            assert (ended.code, ended.error_lines) == (2, [f"dhrd: error: {tmp_path / 'empty.jsonl'}: no rows"])
        gold = ["--gold", write_cases(tmp_path / "gold.jsonl", 2)]
        assert run_here(capsys, "label", *given, *gold, *teacher, *more).code == 2
        assert endpoint.num_requests == 0, "nor are the gold rows paid for"
    assert not (tmp_path / "o.jsonl").exists()


def test_a_tokenizer_counts(tmp_path: Path) -> None:
    backbone = save_backbone(tmp_path / "tiny")
    data = write_cases(tmp_path / "d.jsonl", 3)
    endpoint = FaultyEndpoint(url="http://127.0.0.1:9/v1")
    survey = survey_rationales(teacher_config(endpoint, tokenizer=str(backbone)), data, tmp_path / "o.jsonl")
    assert survey.counted_by == f"the tokenizer {backbone}"
    assert survey.prompt_tokens > 3 * 400  # bytes, or nearly
