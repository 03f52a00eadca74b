"""From rows without labels to rows that training reads: votes, shares, what is left out, and what is asked again."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import load_config
from dhrd.data.rows import load_rows
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.label import label_rows, survey_labels
from dhrd.rationales.teacher.local import LocalTeacher
from helpers.endpoint import FaultyEndpoint, ScriptedEndpoint, VotingEndpoint, error, serving
from helpers.fork import ForkServer
from helpers.models import make_backbone
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl
from helpers.teacher import ballot, case_of, label, manifest, saying, teacher_config, write_cases, write_unlabelled

NOBODY = FaultyEndpoint(url="http://127.0.0.1:9/v1")


def test_votes_become_the_label_as_training_reads_it(tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    vote = ballot("return", "keep", "keep", "keep", "return")
    with serving(VotingEndpoint(vote=vote)) as endpoint:
        found = label(endpoint, write_unlabelled(tmp_path / "d.jsonl", 2), output)
    assert found.gold is None and found.rows is not None
    assert (found.rows.num_written, endpoint.num_requests) == (2, 10)
    assert sorted(body["seed"] for body in endpoint.requests) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert read_jsonl(output) == [
        {
            "id": f"r{number}",
            "input_text": f"case number {number}",
            "label": {"keep": 0.6, "return": 0.4},
            "agreement": 0.6,
            "votes": 5,
            "rationale": f"Reason 1 of case {number}.",  # of the first vote for it
        }
        for number in range(2)
    ]
    train = load_rows(load_config(data__train=str(output))).train
    assert [(row.label, row.shares, row.rationale) for row in train] == [
        ("keep", (0.6, 0.4), f"Reason 1 of case {number}.") for number in range(2)
    ]
    assert manifest(output)["rows"] == {
        "total": 2,
        "labelled": 2,
        "votes": 10,
        "unreadable_votes": 0,
        "unanimous": 0,
        "rejected": {},
        "not_asked": 0,
    }


def test_of_labels_alike_none_has_a_rationale(tmp_path: Path) -> None:
    """Training takes the first of its own order, and must not learn a rationale for the other."""
    output = tmp_path / "o.jsonl"
    with serving(VotingEndpoint(vote=ballot("return", "keep"))) as endpoint:
        label(endpoint, write_unlabelled(tmp_path / "d.jsonl", 1), output, votes=2)
    (row,) = read_jsonl(output)
    assert (row["label"], row["agreement"], "rationale" in row) == ({"keep": 0.5, "return": 0.5}, 0.5, False)
    config = load_config(data__train=str(output), loss__reasoning_weight=0)
    assert load_rows(config).train[0].shares == (0.5, 0.5)


def test_unreadable_votes_are_left_out_and_rows_without_a_vote_kept_out(tmp_path: Path) -> None:
    data, output = write_unlabelled(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl"

    def vote(prompt: str, seed: int) -> str:
        said = {0: "mumble", 1: ("keep", "mumble", "return")[seed % 3], 2: "return"}[case_of(prompt)]
        return ballot(said)(prompt, 0)

    with serving(VotingEndpoint(vote=vote)) as endpoint:
        found = label(endpoint, data, output, votes=3, attempts=1).rows
        assert found is not None
        assert (found.num_written, dict(found.rejected), found.num_open) == (2, {"no_sentinel": 1}, 0)
        assert (found.noted["votes"], found.noted["unreadable_votes"], found.noted["unanimous"]) == (5, 1, 1)
        first, second = read_jsonl(output)
        assert (first["id"], first["label"], first["votes"]) == ("r1", {"keep": 0.5, "return": 0.5}, 2)
        assert (second["id"], second["label"], second["votes"]) == ("r2", {"keep": 0.0, "return": 1.0}, 3)
        assert endpoint.num_requests == 9
        label(endpoint, data, output, votes=3, attempts=1)
        assert endpoint.num_requests == 9  # what was rejected stays so
        endpoint.vote = ballot("keep")
        again = label(endpoint, data, output, votes=3, attempts=1, retry_rejected=True).rows
    assert again is not None
    assert (again.num_written, endpoint.num_requests) == (3, 12)


def test_a_rejected_row_is_not_labelled_by_the_first_vote_of_a_stopped_retry(tmp_path: Path) -> None:
    data, output = write_unlabelled(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl"
    once: dict[str, Any] = {"votes": 3, "attempts": 1, "concurrency": 1, "max_retries": 0}
    with serving(VotingEndpoint(vote=ballot("mumble"))) as endpoint:
        label(endpoint, data, output, **once)
        endpoint.vote, endpoint.script = ballot("keep"), ["ok", "500"]
        stopped = label(endpoint, data, output, retry_rejected=True, **once).rows
        assert stopped is not None
        assert (stopped.num_written, stopped.num_open, stopped.rejected.total()) == (0, 1, 0)
        label(endpoint, data, output, **once)
    assert (read_jsonl(output)[0]["votes"], endpoint.num_requests) == (3, 3 + 2 + 2)


def test_more_votes_ask_only_what_is_missing_and_fewer_ask_nothing(tmp_path: Path) -> None:
    data, output = write_unlabelled(tmp_path / "d.jsonl", 4), tmp_path / "o.jsonl"
    with serving(VotingEndpoint(vote=ballot("keep", "return", "return"))) as endpoint:
        label(endpoint, data, output, votes=3)
        three = output.read_bytes()
        label(endpoint, data, output, votes=5)
        assert endpoint.num_requests == 20
        assert read_jsonl(output)[0]["label"] == {"keep": 0.4, "return": 0.6}
        label(endpoint, data, output, votes=3)
    assert endpoint.num_requests == 20
    assert output.read_bytes() == three


@pytest.mark.parametrize("seed", range(2))
def test_killed_and_resumed_to_the_byte(tmp_path: Path, fork_server: ForkServer, seed: int) -> None:
    """SIGKILL at three random moments, gold rows among what is asked; at most what was in flight is paid twice."""
    concurrency, num_rows, num_votes = 8, 60, 3
    data, gold = write_unlabelled(tmp_path / "d.jsonl", num_rows), write_cases(tmp_path / "g.jsonl", 10, start=100)

    def vote(prompt: str, seed: int) -> str:
        return ballot(random.Random(f"{case_of(prompt)} {seed}").choice(["keep", "return", "mumble"]))(prompt, 0)

    def arguments(output: Path) -> list[str]:
        asked = ["label", "--data", str(data), "--gold", str(gold), "--output", str(output), "--votes", str(num_votes)]
        settings = ["--set", "data.labels=[keep, return]", "--set", "teacher.seed=0"]
        teacher = ["--teacher", "openai:tiny", "--base-url", endpoint.url, "--concurrency", str(concurrency)]
        return asked + settings + teacher

    with serving(VotingEndpoint(vote=vote, delay_s=0.02, seed=seed)) as endpoint:
        fork_server.start(arguments(tmp_path / "whole.jsonl"), tmp_path / "out.txt", tmp_path / "err.txt")
        assert fork_server.wait() == 0, (tmp_path / "err.txt").read_text(encoding="utf-8")
        most = endpoint.num_requests
        output, kills = tmp_path / "o.jsonl", 0
        for target in sorted(random.Random(seed).sample(range(1, most - 40), 3)):
            pid = fork_server.start(arguments(output), tmp_path / "out.txt", tmp_path / "err.txt")
            deadline = time.monotonic() + 60
            while endpoint.num_requests - most < target and time.monotonic() < deadline:
                time.sleep(0.001)
            os.kill(pid, signal.SIGKILL)
            kills += fork_server.wait() == -signal.SIGKILL
            assert not output.exists()
        fork_server.start(arguments(output), tmp_path / "out.txt", tmp_path / "err.txt")
        assert fork_server.wait() == 0
    assert kills == 3
    assert endpoint.num_requests - most <= most + kills * concurrency
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    ours, theirs = manifest(output), manifest(tmp_path / "whole.jsonl")
    assert (ours["rows"], ours["gold"]) == (theirs["rows"], theirs["gold"])


def test_a_row_keeps_its_columns_and_gets_an_id(tmp_path: Path) -> None:
    rows = [
        {"body": "case number 1", "label": None, "when": "today", "parts": [1, {"a": None}]},
        {"body": "case number 2", "label": "", "number": 2.5, "ticket": ""},
    ]
    data, output = write_jsonl(tmp_path / "d.jsonl", rows), tmp_path / "o.jsonl"
    with serving(VotingEndpoint(vote=ballot("keep"))) as endpoint:
        config = teacher_config(endpoint, seed=0, votes=1)
        columns = {"input_text": "body", "label": "category", "id": "ticket"}
        config = config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})})
        label_rows(config, data, output)
    first, second = read_jsonl(output)
    own = {"category": {"keep": 1.0, "return": 0.0}, "agreement": 1.0, "votes": 1, "rationale": "Reason 0 of case 1."}
    assert first == {**rows[0], "ticket": first["ticket"], **own}
    assert second["number"] == 2.5 and all(len(row["ticket"]) == 16 for row in (first, second))


@pytest.mark.parametrize(
    ("column", "value"), [("label", "keep"), ("label", 0), ("rationale", "So."), ("votes", 7), ("agreement", 0.0)]
)
def test_a_column_that_would_be_lost_is_refused(tmp_path: Path, column: str, value: object) -> None:
    rows = [{"input_text": "case number 0"}, {"input_text": "case number 1", column: value}]
    with pytest.raises(DataError, match=rf"d\.jsonl:2: {column}: already has {value!r}, .* remove or rename it"):
        label(NOBODY, write_jsonl(tmp_path / "d.jsonl", rows), tmp_path / "o.jsonl")


def test_gold_rows_are_asked_first_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The teacher says "keep": right for every other row. Gold rows that are rows too are paid once."""
    data, gold = write_unlabelled(tmp_path / "d.jsonl", 12), write_cases(tmp_path / "g.jsonl", 8)
    with serving(VotingEndpoint(vote=ballot("keep", "keep", "return"))) as endpoint, caplog.at_level("INFO", "dhrd"):
        found = label(endpoint, data, tmp_path / "o.jsonl", gold=gold, votes=3, concurrency=1)
    assert found.gold is not None and found.rows is not None
    assert (found.gold.accuracy, found.gold.num_right, found.gold.num_rows) == (0.5, 4, 8)
    assert found.gold.kappa == 0.0
    assert endpoint.num_requests == 12 * 3
    assert [case_of(body["messages"][0]["content"]) for body in endpoint.requests[:24]] == sorted([*range(8)] * 3)
    prompts = [body["messages"][0]["content"] for body in endpoint.requests]
    assert all(prompt.count("keep") == prompt.count("return") == 1 for prompt in prompts)  # no gold label is told
    assert any(
        "4 of 8 rows right: accuracy 0.500 (95 % interval 0.215 to 0.785), kappa 0.00" in m for m in caplog.messages
    )
    assert manifest(tmp_path / "o.jsonl")["gold"] == found.gold.record() | {
        "interval_95": list(found.gold.interval or ())
    }
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == [f"r{number}" for number in range(12)]


def test_a_teacher_that_does_not_do_is_not_asked_for_the_rest(tmp_path: Path) -> None:
    data, gold = write_unlabelled(tmp_path / "d.jsonl", 50), write_cases(tmp_path / "g.jsonl", 8, start=100)
    output = tmp_path / "o.jsonl"
    with serving(VotingEndpoint(vote=ballot("keep"))) as endpoint:
        found = label(endpoint, data, output, gold=gold, min_accuracy=0.6, votes=1)
        assert found.rows is None and found.gold is not None
        assert (endpoint.num_requests, output.exists()) == (8, False)
        alone = label(endpoint, None, output, gold=gold, votes=1)
        assert alone.rows is None and alone.gold is not None and alone.gold.num_right == 4
        assert (endpoint.num_requests, output.exists()) == (8, False)
        done = label(endpoint, data, output, gold=gold, min_accuracy=0.5, votes=1).rows
    assert done is not None
    assert (done.num_written, endpoint.num_requests) == (50, 58)


def test_a_dry_run_tells_both_and_sends_nothing(tmp_path: Path) -> None:
    data, gold = write_unlabelled(tmp_path / "d.jsonl", 30), write_cases(tmp_path / "g.jsonl", 10, start=100)
    output = tmp_path / "o.jsonl"
    with serving(VotingEndpoint(vote=ballot("keep"))) as endpoint:
        config = teacher_config(endpoint, votes=4, seed=0, max_tokens=100)
        rows, known = survey_labels(config, data, output, gold=gold)
        assert rows is not None and known is not None
        assert (rows.num_open, known.num_open, endpoint.num_requests) == (30, 10, 0)
        assert rows.completion_tokens == 30 * 4 * 120
        assert rows.most_completion_tokens == 30 * 4 * 3 * 100
        assert rows.most_prompt_tokens == 3 * rows.prompt_tokens
        assert sorted(path.name for path in tmp_path.iterdir()) == ["d.jsonl", "g.jsonl"]
        label_rows(config, data, output, gold=gold, limit=20)
        rows, known = survey_labels(config, data, output, gold=gold)
        assert rows is not None and known is not None
        assert (rows.num_open, known.num_open, rows.num_unused) == (10, 0, 0)
        more, _ = survey_labels(teacher_config(endpoint, votes=5, seed=0), data, output)
    assert more is not None
    assert more.completion_tokens == int((20 * 1 + 10 * 5) * more.estimate.tokens_per_answer)


def test_what_is_spent_on_gold_counts(tmp_path: Path) -> None:
    data, gold = write_unlabelled(tmp_path / "d.jsonl", 30), write_cases(tmp_path / "g.jsonl", 10, start=100)
    prices: dict[str, Any] = {"input_price": 1.0, "output_price": 1.0, "max_tokens": 50, "concurrency": 1}
    with serving(VotingEndpoint(vote=ballot("keep"))) as endpoint:
        free = label(endpoint, data, tmp_path / "free.jsonl", gold=gold, votes=1, **prices).rows
        assert free is not None and free.cost is not None
        found = label(endpoint, data, tmp_path / "o.jsonl", gold=gold, votes=1, max_cost=free.cost / 2, **prices).rows
        assert found is not None and found.cost is not None
        assert 0 < found.num_written < 30 and found.num_open == 30 - found.num_written
        assert free.cost / 4 < found.cost <= free.cost / 2
        rest = label(endpoint, data, tmp_path / "o.jsonl", gold=gold, votes=1, **prices).rows
    assert rest is not None
    assert (rest.num_written, endpoint.num_requests) == (30, 80)


def test_a_row_that_the_endpoint_refuses_costs_one_request(tmp_path: Path) -> None:
    refuse = lambda _, prompt: error(422) if case_of(prompt) == 1 else None  # noqa: E731
    with saying(refuse) as endpoint:
        assert isinstance(endpoint, ScriptedEndpoint)
        found = label(endpoint, write_unlabelled(tmp_path / "d.jsonl", 3), tmp_path / "o.jsonl", votes=4).rows
    assert found is not None
    assert (found.num_written, dict(found.rejected), endpoint.num_requests) == (2, {"failed": 1}, 9)


def test_a_local_teacher_votes_too(tmp_path: Path) -> None:
    """A random model names no label: each vote is asked for, and counted."""
    backbone = make_backbone("llama", max_position_embeddings=2048)
    settings: dict[str, Any] = {"name": "local:tiny", "base_url": None, "temperature": 1.0, "max_tokens": 6}
    data, teacher = write_unlabelled(tmp_path / "d.jsonl", 4), LocalTeacher(backbone)
    found = label(NOBODY, data, tmp_path / "o.jsonl", teacher=teacher, votes=3, attempts=1, **settings).rows
    assert found is not None
    assert (found.tally.num_requests, found.num_open) == (12, 0)
    assert found.num_written + found.rejected.total() == 4
    with pytest.raises(ConfigError, match=r"all 3 votes would be the same; give `teacher.temperature` above 0"):
        label(NOBODY, data, tmp_path / "o.jsonl", teacher=teacher, votes=3, **settings | {"temperature": None})


def test_what_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    data, output = write_unlabelled(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with pytest.raises(ConfigError, match="no rows given; use `data=FILE`, or only `gold=FILE`"):
        label(NOBODY, None, output)
    with pytest.raises(ConfigError, match="all 5 votes would be the same"):
        label(NOBODY, data, output, temperature=0)
    with pytest.raises(ConfigError, match="no labels given"):
        label_rows(load_config(teacher__name="openai:tiny"), data, output)
    with pytest.raises(ConfigError, match="no teacher given"):
        label_rows(load_config(data__labels=["a", "b"]), data, output)
    with pytest.raises(DataError, match="'maybe' is unknown; labels are 'keep', 'return'"):
        label(NOBODY, data, output, gold=[{"input_text": "case number 3", "label": "maybe"}])
    with pytest.raises(DataError, match="label: already has 'keep'"):  # before the gold rows are paid for
        label(NOBODY, write_cases(tmp_path / "d.jsonl", 2), output, gold=[{"input_text": "a", "label": "keep"}])
    with pytest.raises(ConfigError, match="would overwrite an input"):
        label(NOBODY, data, data)
    assert sorted(path.name for path in tmp_path.iterdir()) in (["d.jsonl"], ["d.jsonl", "o.answers.sqlite"])


def test_training_may_name_what_is_written(tmp_path: Path) -> None:
    """One config for labelling and training: `data.train` is the output."""
    data, output = write_unlabelled(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with serving(VotingEndpoint(vote=ballot("keep", "return", "return", "return"))) as endpoint:
        config = teacher_config(endpoint, seed=0, votes=4)
        config = config.model_copy(update={"data": config.data.model_copy(update={"train": str(output)})})
        assert label_rows(config, data, output).rows is not None
    assert [row.shares for row in load_rows(config).train] == [(0.25, 0.75)] * 2
