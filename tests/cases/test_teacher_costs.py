"""What answers cost, when a limit stops a run, and what is asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from dhrd.errors import TeacherError
from dhrd.rationales.generate import survey_rationales
from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.endpoint import completion
from helpers.rows import write_jsonl
from helpers.teacher import ask, generate, ids, manifest, saying, teacher_config, write_cases

Capsys = pytest.CaptureFixture[str]


PRICES: dict[str, Any] = {"input_price": 10.0, "output_price": 100.0}


CUT = {
    "no content": completion("", finish="length"),
    "null": completion(None, finish="length"),
    "in its thoughts": completion("<think>Hmm", finish="length"),
    "in the middle": completion("Because", finish="length"),
    "another word for it": completion("", finish="MAX_TOKENS"),
}


@pytest.mark.parametrize("body", CUT.values(), ids=CUT)
def test_t8_a_limit_that_cuts_every_answer_stops_the_run(tmp_path: Path, capsys: Capsys, body: dict[str, Any]) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 60), tmp_path / "o.jsonl"
    with saying(lambda *_: body) as endpoint:
        done = generate(capsys, endpoint, data, output, "--concurrency", "4")
        assert done.code == 2
        assert "each of the first 8 answers was cut at max_tokens 512" in done.err
        assert "raise --max-tokens" in done.err
        asked = endpoint.num_requests
        assert asked <= 8 + 4
        endpoint.respond = lambda *_: None
        done = generate(capsys, endpoint, data, output, "--max-tokens", "4000")
    assert (done.code, endpoint.num_requests, len(ids(output))) == (0, asked + 60, 60)


def test_t8_an_answer_cut_without_text_is_not_asked_again_at_that_limit(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl"
    with saying(lambda _, prompt: CUT["no content"] if "number 1" in prompt else None) as endpoint:
        assert dict(ask(endpoint, data, output).rejected) == {"cut": 1}
        ask(endpoint, data, output, max_tokens=300)
        assert endpoint.num_requests == 3
        endpoint.respond = lambda *_: None
        assert ask(endpoint, data, output, max_tokens=1000).num_rationales == 3
    assert endpoint.num_requests == 4


def test_t8_few_rows_that_are_all_cut_are_no_success(tmp_path: Path, capsys: Capsys) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl"
    with saying(lambda *_: CUT["no content"]) as endpoint:
        done = generate(capsys, endpoint, data, output)
    assert (done.code, endpoint.num_requests) == (3, 3)
    assert "a --max-tokens above 512 asks only those that were cut again" in done.out


def test_t9_the_budget_knows_of_thinking_in_the_total(tmp_path: Path) -> None:
    body = completion(
        f"So.\n{SENTINEL}\nkeep", usage={"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 2130}
    )
    with saying(lambda *_: body) as endpoint:
        found = ask(
            endpoint, write_cases(tmp_path / "d.jsonl", 9), tmp_path / "o.jsonl", **PRICES, max_cost=1.0, concurrency=1
        )
    each = (100 * 10 + 2030 * 100) / 1e6
    assert found.num_rationales == endpoint.num_requests == 4  # the fifth could cost more than is left
    assert found.cost == pytest.approx(4 * each)


@pytest.mark.parametrize("kind", ["timeout", "malformed", "cut connection"])
def test_t9_what_may_be_billed_without_an_answer_is_told(tmp_path: Path, capsys: Capsys, kind: str) -> None:
    script = [{"timeout": "hang", "malformed": "invalid JSON"}.get(kind, kind)]
    data, output = write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl"
    more = ["--input-price=10", "--output-price=100", "--concurrency=1"]
    more += ["--timeout-s=1.5"] if kind == "timeout" else []
    with saying(lambda *_: None, script=script) as endpoint:
        done = generate(capsys, endpoint, data, output, *more)
    assert done.code == 0
    assert "1 requests without an answer may also be billed: at most" in done.out
    assert manifest(output)["perhaps_billed_without_an_answer"]["requests"] == 1


@pytest.mark.parametrize("script", [["500"], ["429"], ["400"]])
def test_t9_a_refusal_is_billed_by_nobody(tmp_path: Path, script: list[str]) -> None:
    with saying(lambda *_: None, script=script) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl", **PRICES, concurrency=1)
    assert (found.tally.num_lost, found.possible_cost) == (0, 0.0)


def test_t9_what_may_be_billed_is_within_the_budget(tmp_path: Path) -> None:
    answer = Response('{"choices', media_type="application/json")
    with saying(lambda number, _: answer if number < 2 else None) as endpoint:
        found = ask(
            endpoint, write_cases(tmp_path / "d.jsonl", 9), tmp_path / "o.jsonl", **PRICES, max_cost=0.13, concurrency=1
        )
    assert found.num_rationales < 3
    assert found.num_open == 9 - found.num_rationales


def test_t13_that_a_new_label_asks_every_row_again_is_said_first(tmp_path: Path, capsys: Capsys) -> None:
    rows = [{"id": f"r{i}", "input_text": f"case number {i}", "label": ("keep", "return")[i % 2]} for i in range(6)]
    data, output = write_jsonl(tmp_path / "d.jsonl", rows), tmp_path / "o.jsonl"
    with saying(lambda *_: None) as endpoint:
        assert generate(capsys, endpoint, data, output).code == 0
        write_jsonl(data, [*rows, {"id": "r6", "input_text": "case number 6", "label": "exchange"}])
        dry = generate(capsys, endpoint, data, output, "--dry-run")
        assert "6 answered questions in the store are not those of these rows (the labels are" in dry.out
        assert "7 of 7 rows are asked" in dry.out
        assert endpoint.num_requests == 6
        done = generate(capsys, endpoint, data, output)
    assert "6 answered questions in the store are not those of these rows" in done.err
    assert endpoint.num_requests == 13


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 0.5}, "the temperature is 0.5, then None"),
        ({"name": "openai:other"}, "the teacher is 'openai:other', then 'openai:tiny'"),
        ({"label_hidden": True}, "the template differs"),
        ({"max_tokens": 99}, ""),
    ],
)
def test_t13_what_makes_other_questions_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with saying(lambda *_: None) as endpoint:
        ask(endpoint, data, output)
        survey = survey_rationales(teacher_config(endpoint, **change), data, output)
    assert (said in survey.warning) if said else not survey.warning


def test_t13_a_new_row_of_a_known_label_asks_that_row_alone(tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    with saying(lambda *_: None) as endpoint:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 4), output)
        survey = survey_rationales(teacher_config(endpoint), write_cases(tmp_path / "d.jsonl", 5), output)
    assert (survey.num_open, survey.warning) == (1, "")


def test_t13_a_manifest_of_another_kind_is_no_error(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with saying(lambda *_: None) as endpoint:
        ask(endpoint, data, output)
        for text in ("[]", "{", json.dumps({"template": 1, "sampling": [], "labels": None})):
            (tmp_path / "o.manifest.json").write_text(text, encoding="utf-8")
            assert survey_rationales(teacher_config(endpoint, seed=3), data, output).num_unused == 2


def test_t8_a_stop_keeps_what_was_paid(tmp_path: Path) -> None:
    """An answer that was whole counts: only a run whose first answers are all cut stops."""
    with saying(lambda number, _: CUT["no content"] if number else None) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 20), tmp_path / "o.jsonl", concurrency=1)
        assert (found.num_rationales, dict(found.rejected)) == (1, {"cut": 19})
        with pytest.raises(TeacherError, match=r"0 rationales so far are in .*p\.jsonl"):
            endpoint.requests.clear()
            endpoint.respond = lambda *_: CUT["no content"]
            ask(endpoint, write_cases(tmp_path / "e.jsonl", 20), tmp_path / "p.jsonl", concurrency=1)
    assert manifest(tmp_path / "p.jsonl")["rows"]["rejected"] == {"cut": 8}
