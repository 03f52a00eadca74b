"""What an endpoint says instead of answering: rows, requests and runs end as they should, and nothing paid is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from dhrd.config import load_config
from dhrd.errors import ConfigError, TeacherError
from dhrd.rationales.generate import survey_rationales
from dhrd.rationales.teacher.access import access_of
from dhrd.rationales.teacher.prompt import SENTINEL
from dhrd.rationales.teacher.store import Store
from helpers.endpoint import completion, error
from helpers.runs import read_jsonl
from helpers.teacher import ask, generate, ids, manifest, saying, teacher_config, write_cases

PLAIN = f"Because of x.\n{SENTINEL}\nkeep"


Capsys = pytest.CaptureFixture[str]


UNREADABLE = {
    "a number": completion(7),
    "an object": completion({"a": 1}),
    "an image": completion([{"type": "image_url", "image_url": {}}]),
    "a message that is a list": {"choices": [{"message": [1], "finish_reason": "stop"}]},
    "choices that are text": {"choices": "x"},
    "choices of numbers": {"choices": [3]},
    "content without usage": completion({"a": 1}, usage=None),
    "no choices, and paid": {"usage": {"prompt_tokens": 3}, "output": [1]},
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_t1_content_that_is_no_text_is_a_stored_rejection(tmp_path: Path, body: dict[str, Any]) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 4), tmp_path / "o.jsonl"
    with saying(lambda number, _: body if number == 1 else None) as endpoint:
        found = ask(endpoint, data, output, concurrency=1, attempts=1)
        assert (found.num_rationales, found.rejected.total()) == (3, 1)
        assert survey_rationales(teacher_config(endpoint), data, output).num_open == (
            1 if "empty" in found.rejected else 0
        )
        assert ask(endpoint, data, output, concurrency=1, attempts=1).rejected == found.rejected
    assert endpoint.num_requests == 4


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"content": [{"type": "thinking", "thinking": "Hmm"}, {"type": "text", "text": PLAIN}]}, None),
        ({"content": PLAIN, "refusal": False}, None),
        ({"content": None, "refusal": {"why": "no"}}, "refused"),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, "refused"),
    ],
)
def test_t1_parts_and_refusals_of_any_type(tmp_path: Path, message: dict[str, Any], reason: str | None) -> None:
    with saying(lambda *_: completion(message["content"], refusal=message.get("refusal"))) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", attempts=1)
    assert dict(found.rejected) == ({reason: 1} if reason else {})
    assert [row["rationale"] for row in read_jsonl(tmp_path / "o.jsonl")] == ([] if reason else ["Because of x."])


def test_t2_half_a_character_loses_nothing(tmp_path: Path) -> None:
    body = json.dumps(completion(f"It is plain \ud83d here.\n{SENTINEL}\nkeep"))
    answer = Response(body, media_type="application/json")
    data, output = write_cases(tmp_path / "d.jsonl", 40), tmp_path / "o.jsonl"
    with saying(lambda number, _: answer if number == 20 else None) as endpoint:
        assert ask(endpoint, data, output).num_rationales == 40
        assert ask(endpoint, data, output).num_rationales == 40
    assert endpoint.num_requests == 40
    assert [row["rationale"] for row in read_jsonl(output)].count("It is plain \ufffd here.") == 1


ERRORS_INSIDE_A_200: dict[str, Any] = {
    "no choices": {"choices": None, "error": {"code": 429, "message": "slow down"}},
    "without choices": {"error": {"code": 502, "message": "slow down"}},
    "a code in words": {"choices": [], "error": {"type": "rate_limit_exceeded", "message": "slow down"}},
    "a code as text": {"error": {"code": "503", "message": "slow down"}},
    "a string": {"error": "slow down"},
    "the body itself": {"object": "error", "message": "slow down", "code": 50001},
    "of the choice": {
        "choices": [{"message": {"content": "It"}, "finish_reason": "error", "error": {"message": "slow down"}}]
    },
    "base_resp": {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "slow down"}},
    "detail": {"detail": "slow down"},
}


@pytest.mark.parametrize("body", ERRORS_INSIDE_A_200.values(), ids=ERRORS_INSIDE_A_200)
def test_t5_an_error_inside_a_200_is_never_paid_nor_a_rejection(
    tmp_path: Path, capsys: Capsys, body: dict[str, Any]
) -> None:
    data, output, down = write_cases(tmp_path / "d.jsonl", 4), tmp_path / "o.jsonl", [True]
    with saying(lambda number, prompt: body if down[0] and "case number 2" in prompt else None) as endpoint:
        first = generate(capsys, endpoint, data, output, "--max-retries", "0")
        assert first.code == 3
        assert re.search(r"1 rows got no answer \(error.*: slow down\); run the command again to retry them", first.out)
        assert "rejected" not in first.out
        assert (manifest(output)["answers"], manifest(output)["rows"]["not_asked"]) == (3, 1)
        down[0] = False
        assert generate(capsys, endpoint, data, output).code == 0
    assert endpoint.num_requests == 5
    assert ids(output) == ["r0", "r1", "r2", "r3"]


def test_t5_a_choice_that_ended_in_an_error_is_asked_again(tmp_path: Path) -> None:
    with saying(lambda number, _: completion("It", finish="error") if number == 0 else None) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl")
    assert (found.num_rationales, dict(found.tally.failures)) == (1, {"error": 1})


def test_t6_a_setting_that_is_refused_stops_at_once(tmp_path: Path) -> None:
    refusal = error(400, "Unsupported value: 'temperature'", param="temperature", code="unsupported_value")
    with (
        saying(lambda *_: refusal) as endpoint,
        pytest.raises(
            TeacherError, match=r"rejects the setting temperature .*correct or leave out teacher\.temperature"
        ),
    ):
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 50), tmp_path / "o.jsonl", temperature=1.5, concurrency=2)
    assert endpoint.num_requests <= 4


NO_MONEY: dict[str, Any] = {
    "402": error(402, "Payment required"),
    "insufficient_quota": error(429, "You exceeded your quota", code="insufficient_quota"),
    "403": error(403, "insufficient balance"),
    "400": error(400, "Your credit balance is too low to use this API"),
    "inside a 200": {"error": {"code": 402, "message": "Insufficient credits"}},
    "inside a 200, in words": {
        "choices": None,
        "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"},
    },
}


@pytest.mark.parametrize("refusal", NO_MONEY.values(), ids=NO_MONEY)
def test_t7_no_money_stops_and_rejects_nothing(tmp_path: Path, capsys: Capsys, refusal: Any) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 10), tmp_path / "o.jsonl"
    with saying(lambda number, _: refusal if number >= 5 else None) as endpoint:
        done = generate(capsys, endpoint, data, output, "--concurrency", "1")
        assert done.code == 2
        assert "the account's quota is used up" in done.err
        assert "5 rationales so far are in" in done.err
        assert len(done.error_lines) == 1
        assert ids(output) == [f"r{i}" for i in range(5)]
        assert manifest(output)["complete"] is False
        endpoint.respond = lambda *_: None
        assert generate(capsys, endpoint, data, output).code == 0
    assert endpoint.num_requests == 11
    assert len(ids(output)) == 10


def test_t7_what_is_in_flight_at_a_stop_is_waited_for_and_paid_once(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 40), tmp_path / "o.jsonl"
    with saying(lambda number, _: error(402) if number == 20 else None, delay_s=0.1) as endpoint:
        with pytest.raises(TeacherError, match="quota is used up"):
            ask(endpoint, data, output, concurrency=8)
        answered = sum(endpoint.answered.values())
        assert len(ids(output)) == answered
        ask(endpoint, data, output, concurrency=8)
    assert sum(endpoint.answered.values()) == len(endpoint.answered) == 40


REFUSED_NAMES: dict[str, Any] = {
    "OpenAI's": error(400, "Unsupported parameter", param="max_tokens", code="unsupported_parameter"),
    "in words": error(400, "Unsupported: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."),
    "FastAPI's": Response(
        '{"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]}', 422,
        media_type="application/json",
    ),
    "text": Response("unknown field `max_tokens`", 400),
    "inside a 200": {"error": {"code": 400, "message": "unrecognized request argument supplied: max_tokens"}},
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED_NAMES.values(), ids=REFUSED_NAMES)
def test_t10_a_refused_name_of_the_limit_is_replaced_once_for_the_run(tmp_path: Path, refusal: Any) -> None:
    def respond(number: int, prompt: str) -> Any:
        return refusal if "max_tokens" in endpoint.requests[number] else None

    with saying(respond) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 12), tmp_path / "o.jsonl", concurrency=2)
    assert (found.num_rationales, found.rejected.total()) == (12, 0)
    assert sum("max_tokens" in body for body in endpoint.requests) <= 2
    assert endpoint.requests[-1]["max_completion_tokens"] == 512


def test_t10_a_limit_that_is_too_large_keeps_its_name(tmp_path: Path) -> None:
    refusal = error(
        400, "max_tokens is too large: 512. The model supports at most 100", param="max_tokens", code="invalid_value"
    )
    with saying(lambda *_: refusal) as endpoint, pytest.raises(TeacherError, match="rejects the setting max_tokens"):
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl", concurrency=1)
    assert ["max_tokens" in body for body in endpoint.requests] == [True]


SECRET_ROW = 'Mrs Ördög of 12 Acacia Avenue\nowes "forty" pounds'


@pytest.mark.parametrize("form", ["as it is", "JSON", "repr", "upper case", "a part", "text"])
def test_t11_a_rows_text_is_in_no_message(tmp_path: Path, capsys: Capsys, form: str) -> None:
    statuses = [400, 404, 422, 500]

    def respond(number: int, prompt: str) -> Any:
        said = {"JSON": json.dumps(prompt), "repr": repr(prompt), "upper case": prompt.upper(), "a part": prompt[3:24]}
        message = f"cannot read {said.get(form, prompt)} here"
        return Response(message, statuses[number]) if form == "text" else error(statuses[number], message)

    data = tmp_path / "d.jsonl"
    data.write_text(json.dumps({"id": "r0", "input_text": SECRET_ROW, "label": "keep"}), encoding="utf-8")
    with saying(respond) as endpoint:
        for _ in statuses:
            done = generate(
                capsys, endpoint, data, tmp_path / "o.jsonl", "--max-retries=0", "--set=data.labels=[keep, return]"
            )
            assert done.code == 2
            assert "cannot read" in done.err
            assert not re.search("acacia|forty|pounds|rd.g", done.err + done.out, re.IGNORECASE)
    assert endpoint.num_requests == len(statuses)
    with Store(tmp_path / "o.answers.sqlite") as store:
        assert store.totals().num_records == 0


def test_t14_a_password_in_the_address_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    """A config may hold one: training does not ask, and writes it nowhere."""
    settings = load_config(teacher__base_url="http://user:secret@h/v1").teacher
    with pytest.raises(ConfigError, match=r"teacher\.base_url contains a user or password") as caught:
        access_of(settings)
    assert "secret" not in str(caught.value)


def test_t14_a_query_stays_behind_the_path(tmp_path: Path) -> None:
    with saying(lambda *_: None) as endpoint:
        url = f"{endpoint.url}/chat/completions?api-version=1&key=sesame-open"
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", base_url=url)
        assert endpoint.queries == [{"api-version": "1", "key": "sesame-open"}]
    assert b"sesame" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
@pytest.mark.parametrize("status", [200, 503])
def test_t15_a_web_page_is_called_one(tmp_path: Path, kind: str, status: int) -> None:
    page = Response("\n<!DOCTYPE html><html><body>Sign in</body></html>", status, media_type=kind)
    with (
        saying(lambda *_: page) as endpoint,
        pytest.raises(TeacherError, match=r"\((web page|HTTP 503): a web page, not an API answer\)"),
    ):
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", max_retries=0)


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/octet-stream"])
def test_t15_json_is_read_whatever_its_type(tmp_path: Path, kind: str) -> None:
    answer = Response("\ufeff" + json.dumps(completion(PLAIN)), media_type=kind)
    with saying(lambda *_: answer) as endpoint:
        assert ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl").num_rationales == 1


@pytest.mark.parametrize("text", ["[" * 100_000, '{"choices": ' + "9" * 5000 + "}", "null", "[]", "7", '"x"', ""])
def test_t15_what_is_no_answer_is_no_traceback(tmp_path: Path, text: str) -> None:
    answer = Response(text, media_type="application/json")
    with saying(lambda *_: answer) as endpoint, pytest.raises(TeacherError, match="malformed"):
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", max_retries=0)


def test_t16_further_fields_and_headers_are_sent_and_no_header_is_written(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl"
    settings: dict[str, Any] = {
        "reasoning_effort": "low",
        "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
        "extra_headers": {"api-key": "sesame-open", "X-Title": "a study"},
    }
    with saying(lambda number, _: error(500, "no sesame-open") if number == 0 else None) as endpoint:
        ask(endpoint, data, output)
        ask(endpoint, data, output, **settings)  # another question: it thinks otherwise
        ask(endpoint, data, output, **settings, max_tokens=900)
    assert endpoint.num_requests == 3
    body, headers = endpoint.requests[-1], endpoint.headers[-1]
    assert (body["reasoning_effort"], body["chat_template_kwargs"]) == ("low", {"enable_thinking": False})
    assert (headers["api-key"], headers["x-title"]) == ("sesame-open", "a study")
    assert manifest(output)["sampling"]["extra_body"] == settings["extra_body"]
    config = teacher_config(endpoint, **settings)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"sesame" not in written + repr(config).encode() + config.model_dump_json().encode()
