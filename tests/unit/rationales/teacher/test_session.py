"""What a run of questions shares: which are settled, and which are asked again."""

from __future__ import annotations

from pathlib import Path

from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.endpoint import FaultyEndpoint, serving
from helpers.teacher import ask, ids, write_cases


def test_rejected_rows_stay_rejected_until_asked_for(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 4), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint(script=["empty"] * 3 + ["refusal"])) as endpoint:
        found = ask(endpoint, data, output, concurrency=1)
        assert dict(found.rejected) == {"empty": 1, "refused": 1}
        assert endpoint.num_requests == 6
        assert ask(endpoint, data, output, concurrency=1).rejected == found.rejected
        assert endpoint.num_requests == 6
        endpoint.script = ["empty", "empty", "empty", "ok"]
        again = ask(endpoint, data, output, concurrency=1, retry_rejected=True)
        assert endpoint.num_requests == 10  # three more attempts for the one, one for the other
        assert dict(again.rejected) == {"empty": 1}
        last = ask(endpoint, data, output, concurrency=1, retry_rejected=True)
    assert (last.num_rationales, last.rejected.total(), endpoint.num_requests) == (4, 0, 11)


def test_raising_max_tokens_asks_only_cut_answers_again(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 4), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint(script=["finish_reason length"] * 3 + ["empty"] * 3)) as endpoint:
        found = ask(endpoint, data, output, concurrency=1)
        assert dict(found.rejected) == {"cut": 1, "empty": 1}
        before = endpoint.num_requests
        found = ask(endpoint, data, output, concurrency=1, max_tokens=2000)
    assert dict(found.rejected) == {"empty": 1}
    assert endpoint.num_requests == before + 1
    assert endpoint.requests[-1]["max_tokens"] == 2000


def test_hidden_labels_keep_what_agrees(tmp_path: Path) -> None:
    """The endpoint always says "keep": right for every other row. The prompt must not say which."""
    data, output = write_cases(tmp_path / "d.jsonl", 10), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        found = ask(endpoint, data, output, label_hidden=True)
        assert endpoint.num_requests == 10
        assert ids(output) == ["r0", "r2", "r4", "r6", "r8"]
        assert dict(found.rejected) == {"wrong_answer": 5}
        again = ask(endpoint, data, output, label_hidden=True, samples=3)
        assert endpoint.num_requests == 10 + 5 * 2  # the further samples of those rejected
        assert again.rejected == found.rejected
        endpoint.reply = lambda prompt: f"It fits.\n{SENTINEL}\nreturn"
        last = ask(endpoint, data, output, label_hidden=True, samples=5)
    assert (last.num_rationales, endpoint.num_requests) == (10, 25)
    prompts = [body["messages"][0]["content"] for body in endpoint.requests]
    assert all(prompt.count("keep") == prompt.count("return") == 1 for prompt in prompts)
