"""From rows to a file of rationales: order, resumption, what is asked again and what never."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from dhrd.errors import DataError
from helpers.endpoint import FAULTS, WITHOUT_ANSWER, FaultyEndpoint, serving
from helpers.fork import ForkServer
from helpers.runs import read_jsonl, run_forked
from helpers.teacher import ask, ids, manifest, write_cases


def test_a_thousand_rows_through_faults(tmp_path: Path) -> None:
    """30 % of requests meet a fault: every row ends as a rationale or a counted rejection, every request is counted."""
    data, output = write_cases(tmp_path / "d.jsonl", 1000), tmp_path / "o.jsonl"
    rates = {fault: 0.3 / len(FAULTS) for fault in FAULTS}
    settings: dict[str, Any] = {"concurrency": 64, "timeout_s": 2}
    with serving(FaultyEndpoint(rates=rates)) as endpoint:
        found = ask(endpoint, data, output, **settings)
        assert found.num_rationales + found.rejected.total() == found.num_rows == 1000
        assert found.num_rationales > 900
        assert endpoint.num_requests == found.tally.num_requests
        assert found.tally.num_requests == found.tally.num_answers + found.tally.failures.total()
        assert found.tally.failures.total() == sum(endpoint.outcomes[fault] for fault in WITHOUT_ANSWER)
        assert all(endpoint.outcomes[fault] for fault in FAULTS)
        assert len(ids(output)) == found.num_rationales
        assert found.rejected["refused"] == endpoint.outcomes["refusal"]
        assert max(endpoint.answered.values()) == 1
        before = endpoint.num_requests
        again = ask(endpoint, data, output, **settings)
        assert endpoint.num_requests == before
    assert (again.num_rationales, again.rejected) == (found.num_rationales, found.rejected)


@pytest.mark.parametrize("seed", range(3))
def test_killed_and_resumed_no_finished_row_is_asked_again(tmp_path: Path, fork_server: ForkServer, seed: int) -> None:
    """SIGKILL at three random moments; at most the requests in flight are asked twice."""
    concurrency, num_rows = 8, 200
    data, output = write_cases(tmp_path / "d.jsonl", num_rows), tmp_path / "o.jsonl"
    rng = random.Random(seed)
    with serving(FaultyEndpoint(rates={"429": 0.1, "empty": 0.1}, delay_s=0.02, seed=seed)) as endpoint:
        arguments = ["rationales", "generate", "--data", str(data), "--output", str(output), "--teacher", "openai:tiny"]
        arguments += ["--base-url", endpoint.url, "--concurrency", str(concurrency), "--attempts", "9"]
        kills = 0
        for target in sorted(rng.sample(range(1, num_rows - 20), 3)):
            pid = fork_server.start(arguments, tmp_path / "out.txt", tmp_path / "err.txt")
            deadline = time.monotonic() + 60
            while len(endpoint.answered) < target and time.monotonic() < deadline:
                time.sleep(0.001)
            os.kill(pid, signal.SIGKILL)
            kills += fork_server.wait() == -signal.SIGKILL
            assert not output.exists()
            assert not output.with_name("o.manifest.json").exists()
        fork_server.start(arguments, tmp_path / "out.txt", tmp_path / "err.txt")
        assert fork_server.wait() == 0, (tmp_path / "err.txt").read_text(encoding="utf-8")
        assert kills == 3
        assert len(endpoint.answered) == num_rows
        assert sum(endpoint.answered.values()) <= num_rows + kills * concurrency
        assert ids(output) == [f"r{i}" for i in range(num_rows)]
        assert manifest(output)["complete"] is True
        before = endpoint.num_requests
        fork_server.start(arguments, tmp_path / "out.txt", tmp_path / "err.txt")
        assert fork_server.wait() == 0
        assert endpoint.num_requests == before


def test_adding_a_row_asks_that_row(tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, write_cases(tmp_path / "d.jsonl", 5), output)
        write_cases(tmp_path / "d.jsonl", 7)
        found = ask(endpoint, tmp_path / "d.jsonl", output)
    assert (endpoint.num_requests, found.num_rationales, len(ids(output))) == (7, 7, 7)


def test_a_limit_asks_the_first_rows_and_is_part_of_no_key(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 9), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        assert ask(endpoint, data, output, limit=4).num_rows == 4
        assert ids(output) == ["r0", "r1", "r2", "r3"]
        ask(endpoint, data, output)
    assert endpoint.num_requests == 9


def test_another_address_of_the_same_model_asks_nothing_again(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as first:
        ask(first, data, output)
    with serving(FaultyEndpoint()) as second:
        assert ask(second, data, output).num_rationales == 2
    assert second.num_requests == 0


def test_bad_rows_are_said_before_the_first_request(tmp_path: Path) -> None:
    rows = read_jsonl(write_cases(tmp_path / "d.jsonl", 5))
    (tmp_path / "t.jinja").write_text("{{ premise }} {{ label }} {{ sentinel }}", encoding="utf-8")
    with serving(FaultyEndpoint()) as endpoint:
        with pytest.raises(DataError, match=r"'premise' is undefined; .* \(correct .*t\.jinja or data\.columns\)"):
            ask(endpoint, rows, tmp_path / "o.jsonl", template=str(tmp_path / "t.jinja"))
        with pytest.raises(DataError, match="row 4: label: missing"):
            ask(endpoint, [*rows[:4], {"id": "x", "input_text": "y"}], tmp_path / "o.jsonl")
        with pytest.raises(DataError, match="the id 'r0' occurs twice"):
            ask(endpoint, [*rows, rows[0]], tmp_path / "o.jsonl")
    assert endpoint.num_requests == 0
    assert not (tmp_path / "o.jsonl").exists()


def test_ctrl_c_keeps_what_came(tmp_path: Path, fork_server: ForkServer) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 100), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint(delay_s=0.1)) as endpoint:
        arguments = ["rationales", "generate", "--data", str(data), "--output", str(output), "--teacher", "openai:tiny"]
        arguments += ["--base-url", endpoint.url, "--concurrency", "4"]
        pid = fork_server.start(arguments, tmp_path / "out.txt", tmp_path / "err.txt")
        while len(endpoint.answered) < 12:
            time.sleep(0.01)
        os.kill(pid, signal.SIGINT)
        assert fork_server.wait() == 130
        assert (tmp_path / "err.txt").read_text(encoding="utf-8") == (
            "dhrd: interrupted; answers so far are kept; run the same command again to continue\n"
        )
        done = len(endpoint.answered)
        ask(endpoint, data, output)
    assert sum(endpoint.answered.values()) <= 100 + 4
    assert done < 100


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, fork_server: ForkServer) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 300), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        arguments = ["rationales", "generate", "--data", data, "--output", output, "--teacher", "openai:tiny"]
        arguments += ["--base-url", endpoint.url, "--concurrency", "4"]
        full = run_forked(fork_server, tmp_path, *arguments, max_file_bytes=300_000)
        assert full.code == 1
        assert len(full.error_lines) == 1
        assert "o.answers.sqlite" in full.error_lines[0]
        assert "what was saved before is intact" in full.error_lines[0]
        kept = len(endpoint.answered)
        assert 20 < kept < 300
        ask(endpoint, data, output)
    assert sum(endpoint.answered.values()) <= 300 + 2 * 4  # those in flight, and those of the commit that failed
    assert len(ids(output)) == 300
