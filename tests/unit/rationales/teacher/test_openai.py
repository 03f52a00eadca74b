"""The client against an endpoint that misbehaves: every request is accounted for, every limit is kept."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import TeacherSettings
from dhrd.errors import ConfigError, TeacherError
from dhrd.rationales.teacher.endpoint import Endpoint
from dhrd.rationales.teacher.tally import Estimate, Tally
from helpers.endpoint import FaultyEndpoint, serving
from helpers.runs import read_jsonl
from helpers.teacher import ask, ids, label, manifest, write_cases, write_unlabelled


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("401", "127.0.0.1 rejects the key in OPENAI_API_KEY (HTTP 401); correct it"),
        ("403", "127.0.0.1 rejects the key in OPENAI_API_KEY (HTTP 403); correct it"),
        (
            "404",
            "127.0.0.1 has no model 'tiny', or no chat completions at this address; "
            "correct `teacher.name` or `teacher.base_url`",
        ),
    ],
)
def test_what_no_request_can_mend_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, message: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    data = write_cases(tmp_path / "d.jsonl", 50)
    with serving(FaultyEndpoint(rates={status: 1})) as endpoint, pytest.raises(TeacherError) as caught:
        ask(endpoint, data, tmp_path / "o.jsonl", concurrency=2)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert endpoint.num_requests <= 4
    assert not (tmp_path / "o.jsonl").exists()


def test_a_refused_row_is_rejected_and_the_others_go_on(tmp_path: Path) -> None:
    """400: this row's prompt is too long, say. It is not sent again."""
    with serving(FaultyEndpoint(script=["ok", "400"])) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 5), tmp_path / "o.jsonl", concurrency=1)
    assert endpoint.num_requests == 5
    assert dict(found.rejected) == {"failed": 1}
    assert ids(tmp_path / "o.jsonl") == ["r0", "r2", "r3", "r4"]


@pytest.mark.parametrize(("status", "num_asked"), [("400", 30), ("500", 8)])
def test_an_endpoint_that_answers_nothing_rejects_no_row(tmp_path: Path, status: str, num_asked: int) -> None:
    """A refusal may be of the row, so only that of every row stops the run."""
    data = write_cases(tmp_path / "d.jsonl", 30)
    settings = {"concurrency": 4, "max_retries": 0}
    with serving(FaultyEndpoint(rates={status: 1})) as endpoint:
        with pytest.raises(
            TeacherError, match=f"answered none of the last {num_asked} questions .HTTP {status}: .*status {status}"
        ):
            ask(endpoint, data, tmp_path / "o.jsonl", **settings)
        endpoint.rates = {}
        found = ask(endpoint, data, tmp_path / "o.jsonl", **settings)
    assert (found.num_rationales, found.rejected.total()) == (30, 0)


def test_an_address_where_nobody_listens_is_said_soon(tmp_path: Path) -> None:
    nobody = FaultyEndpoint(url="http://127.0.0.1:9/v1")
    began = time.monotonic()
    with pytest.raises(TeacherError, match=r"127\.0\.0\.1 answered none of the last 1 questions .connection: "):
        ask(nobody, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl")
    assert time.monotonic() - began < 20


def test_a_wait_of_hours_is_no_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dhrd.rationales.teacher.failures.LONGEST_RETRY_AFTER_S", 0.5)
    with (
        serving(FaultyEndpoint(rates={"429 with Retry-After": 1})) as endpoint,
        pytest.raises(TeacherError, match=r"127\.0\.0\.1 asks to wait 1 s; run the same command again after that"),
    ):
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl")


def test_a_key_or_an_address_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY is not set: export it, or give `teacher\.base_url`"):
        ask(FaultyEndpoint(), write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", base_url=None)


def test_the_environment_works_as_in_the_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    data = write_cases(tmp_path / "d.jsonl", 3)
    with serving(FaultyEndpoint(script=["400"])) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        found = ask(endpoint, data, tmp_path / "o.jsonl", base_url=None, concurrency=1)
    assert found.num_rationales == 2
    assert {headers["authorization"] for headers in endpoint.headers} == {"Bearer sk-secret-value"}
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in written


def test_a_key_that_an_endpoint_repeats_is_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "status 400")  # what the endpoint's error says
    with serving(FaultyEndpoint(script=["ok", "400"])) as endpoint:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl", concurrency=1)
    assert b"status 400" not in (tmp_path / "o.answers.sqlite").read_bytes()


def test_the_request_says_what_the_settings_say(tmp_path: Path) -> None:
    data = write_cases(tmp_path / "d.jsonl", 1)
    with serving(FaultyEndpoint(script=["no sentinel"])) as endpoint:
        ask(endpoint, data, tmp_path / "a.jsonl", temperature=0.7, top_p=0.9, seed=5, max_tokens=99)
        ask(endpoint, data, tmp_path / "b.jsonl")
    keys = ("model", "temperature", "top_p", "seed", "max_tokens")
    assert [{key: body.get(key) for key in keys} for body in endpoint.requests] == [
        {"model": "tiny", "temperature": 0.7, "top_p": 0.9, "seed": 5, "max_tokens": 99},
        {"model": "tiny", "temperature": 0.7, "top_p": 0.9, "seed": 6, "max_tokens": 99},  # else the same again
        {"model": "tiny", "temperature": None, "top_p": None, "seed": None, "max_tokens": 512},
    ]
    assert "temperature" not in endpoint.requests[-1]


def test_so_many_are_in_flight_and_no_more(tmp_path: Path) -> None:
    with serving(FaultyEndpoint(delay_s=0.1)) as endpoint:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 60), tmp_path / "o.jsonl", concurrency=12)
    assert endpoint.most_in_flight == 12


def test_requests_keep_the_pace(tmp_path: Path) -> None:
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 12), tmp_path / "o.jsonl", requests_per_minute=600)
    gaps = [after - before for before, after in zip(endpoint.times, endpoint.times[1:], strict=False)]
    assert len(gaps) == 11
    assert endpoint.times[-1] - endpoint.times[0] >= 11 * 0.1 - 0.05  # 600 a minute are one each 0.1 s


def test_tokens_keep_the_pace(tmp_path: Path) -> None:
    with serving(FaultyEndpoint()) as endpoint:
        began = time.monotonic()
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 10), tmp_path / "o.jsonl", tokens_per_minute=60_000)
        seconds = time.monotonic() - began
    tokens = found.tally.prompt_tokens + found.tally.completion_tokens
    assert tokens > 1000
    assert seconds >= 0.8 * tokens / 1000  # the last one's tokens need not have passed


PRICES: dict[str, Any] = {"input_price": 1000.0, "output_price": 2000.0}


@pytest.mark.parametrize("concurrency", [1, 16])
def test_the_budget_is_never_overrun_and_can_be_raised(tmp_path: Path, concurrency: int) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 40), tmp_path / "o.jsonl"
    settings = {**PRICES, "concurrency": concurrency, "max_tokens": 60}
    with serving(FaultyEndpoint(delay_s=0.01)) as endpoint:
        found = ask(endpoint, data, output, max_cost=5.0, **settings)
        assert found.cost is not None
        assert 4 < found.cost <= 5
        assert 0 < found.num_rationales < 40
        assert found.num_open == 40 - found.num_rationales
        assert found.num_rationales == endpoint.num_requests  # what was in flight was waited for
        assert manifest(output)["complete"] is False
        before = endpoint.num_requests
        again = ask(endpoint, data, output, max_cost=5.0, **settings)
        assert endpoint.num_requests == before
        assert again.num_open == found.num_open
        rest = ask(endpoint, data, output, max_cost=100.0, **settings)
    assert (rest.num_open, rest.num_rationales, endpoint.num_requests) == (0, 40, 40)
    assert rest.cost is not None and rest.cost > found.cost
    assert manifest(output)["complete"] is True
    assert manifest(output)["cost"] == rest.cost


def test_no_usage_is_estimated(tmp_path: Path) -> None:
    class Silent(FaultyEndpoint):
        def _response(self, body: dict[str, Any], fault: str) -> Any:
            import json

            response = super()._response(body, fault)
            answer = json.loads(bytes(response.body))
            del answer["usage"]
            return type(response)(answer)

    with serving(Silent()) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl")
    prompts = [body["messages"][0]["content"] for body in endpoint.requests]
    assert found.tally.prompt_tokens == sum(Estimate().prompt_tokens(prompt) for prompt in prompts)
    assert found.tally.completion_tokens > 0


def test_openai_itself_gets_the_new_name_of_the_limit() -> None:
    def limit_name(url: str) -> str:
        settings = TeacherSettings(name="openai:m", base_url=url)
        return Endpoint(settings, Tally(), Estimate())._limit_name

    assert limit_name("https://api.openai.com/v1") == "max_completion_tokens"
    assert limit_name("http://localhost:8000/v1") == "max_tokens"


def in_a_notebook(work: Callable[[], Any]) -> Any:
    """Call it as a notebook does: from code that an event loop runs, which leaves Ctrl-C as it is."""

    async def cell() -> Any:
        return work()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


def test_it_works_where_an_event_loop_runs(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        assert in_a_notebook(lambda: ask(endpoint, data, output)).num_rationales == 3
        unlabelled = write_unlabelled(tmp_path / "u.jsonl", 3)
        assert in_a_notebook(lambda: label(endpoint, unlabelled, tmp_path / "l.jsonl", votes=1)).rows.num_written == 3
        endpoint.rates = {"401": 1}
        with pytest.raises(TeacherError, match="rejects the key"):
            in_a_notebook(lambda: ask(endpoint, write_cases(tmp_path / "d.jsonl", 4), output))


def test_an_interrupt_stops_it_where_an_event_loop_runs(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 500), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint(delay_s=0.02)) as endpoint:

        def interrupt() -> None:
            while len(endpoint.answered) < 12:
                time.sleep(0.01)
            signal.raise_signal(signal.SIGINT)  # Python runs its handler in the main thread, whoever raises it

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            in_a_notebook(lambda: ask(endpoint, data, output, concurrency=4))
        thread.join()
        assert len(endpoint.answered) < 400
        ask(endpoint, data, output)
    assert len(ids(output)) == 500
    assert sum(endpoint.answered.values()) <= 500 + 4  # those in flight


def test_the_same_row_twice_is_asked_once(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "input_text": "the same", "label": ("keep", "return")[i == 9]} for i in range(10)]
    with serving(FaultyEndpoint(delay_s=0.05)) as endpoint:
        found = ask(endpoint, rows, tmp_path / "o.jsonl", concurrency=10)
    assert found.num_rationales == 10
    assert endpoint.num_requests == 2  # one of each label
    assert len({row["rationale"] for row in read_jsonl(tmp_path / "o.jsonl")}) == 2
