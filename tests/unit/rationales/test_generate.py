"""From rows to a file of rationales: order, resumption, what is asked again and what never."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from dhrd.data.sources import open_source
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.generate import generate_rationales, survey_rationales
from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.endpoint import FAULTS, WITHOUT_ANSWER, FaultyEndpoint, serving
from helpers.fork import ForkServer
from helpers.models import make_backbone
from helpers.rows import make_tokenizer, write_jsonl
from helpers.runs import flags, read_jsonl, run_forked, run_here, save_backbone
from helpers.teacher import ask, ids, manifest, teacher_config, write_cases

Capsys = pytest.CaptureFixture[str]


def test_the_output_is_in_the_rows_order(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 50), tmp_path / "o.jsonl"
    jitter = random.Random(0)

    class Jittery(FaultyEndpoint):
        async def complete(self, request: Any) -> Any:
            self.delay_s = jitter.random() / 20
            return await super().complete(request)

    with serving(Jittery()) as endpoint:
        ask(endpoint, data, output)
    rows = read_jsonl(output)
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(50)]
    assert all(set(row) == {"id", "rationale", "teacher", "input_digest"} for row in rows)
    assert all(f"case number {row['id'][1:]}" in row["rationale"] for row in rows)
    assert not any(SENTINEL in row["rationale"] or "keep" in row["rationale"] for row in rows)
    assert {row["teacher"] for row in rows} == {"openai:tiny"}


def test_the_manifest_says_where_it_comes_from(tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    with serving(FaultyEndpoint(script=["500", "refusal"])) as endpoint:
        ask(
            endpoint,
            write_cases(tmp_path / "d.jsonl", 4),
            output,
            temperature=0.5,
            input_price=1,
            output_price=2,
            concurrency=1,
        )
    found = manifest(output)
    assert found["teacher"] == "openai:tiny"
    assert found["endpoint_hosts"] == ["127.0.0.1"]
    assert endpoint.url not in json.dumps(found)
    assert found["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert found["template"]["sha256"] == hashlib.sha256(found["template"]["text"].encode()).hexdigest()
    assert found["sampling"]["temperature"] == 0.5
    assert found["rows"] == {
        "total": 4,
        "with_rationale": 3,
        "naming_another_label": 2,  # it always answers "keep", and r1 and r3 are a "return"
        "rejected": {"refused": 1},
        "not_asked": 0,
    }
    assert found["requests_of_last_run"] == {"sent": 5, "answered": 4, "failed": {"HTTP 500": 1}}
    assert found["answers"] == 4
    tokens = found["tokens"]
    assert found["cost"] == pytest.approx((tokens["prompt"] + 2 * tokens["completion"]) / 1e6)
    assert found["dates"]["first_answer"] <= found["dates"]["last_answer"]


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


def test_ids_and_order_are_no_part_of_what_is_asked(tmp_path: Path) -> None:
    rows = read_jsonl(write_cases(tmp_path / "d.jsonl", 6))
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, rows, tmp_path / "o.jsonl")
        ask(endpoint, [{**row, "id": f"new-{row['id']}"} for row in reversed(rows)], tmp_path / "o.jsonl")
    assert endpoint.num_requests == 6
    assert ids(tmp_path / "o.jsonl") == [f"new-r{i}" for i in reversed(range(6))]


@pytest.mark.parametrize(
    ("change", "asked_again"),
    [
        ({"max_tokens": 99}, False),
        ({"timeout_s": 3}, False),
        ({"attempts": 9}, False),
        ({"concurrency": 2}, False),
        ({"temperature": 0.4}, True),
        ({"top_p": 0.4}, True),
        ({"seed": 1}, True),
        ({"name": "openai:other"}, True),
        ({"label_hidden": True}, True),
        ({"template": "TEMPLATE"}, True),
    ],
)
def test_what_is_part_of_the_key(tmp_path: Path, change: dict[str, Any], asked_again: bool) -> None:
    if "template" in change:
        (tmp_path / "t.jinja").write_text("{{ input }} is {{ label }}. {{ sentinel }}", encoding="utf-8")
        change = {"template": str(tmp_path / "t.jinja")}
    data, output = write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, data, output)
        ask(endpoint, data, output, **change)
    assert endpoint.num_requests == (4 if asked_again else 2)


def test_another_address_of_the_same_model_asks_nothing_again(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as first:
        ask(first, data, output)
    with serving(FaultyEndpoint()) as second:
        assert ask(second, data, output).num_rationales == 2
    assert second.num_requests == 0


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ input }} {{ label }}", "must ask for a line {{ sentinel }}"),
        ("{{ input }} {{ sentinel }}", "does not tell the teacher {{ label }}; use it, or give --label-hidden"),
        ("{{ input {{ sentinel }}", "(line 1)"),
    ],
)
def test_a_template_that_cannot_work(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.jinja").write_text(text, encoding="utf-8")
    data = write_cases(tmp_path / "d.jsonl", 2)
    with pytest.raises(ConfigError) as caught:
        ask(FaultyEndpoint(url="http://127.0.0.1:9/v1"), data, tmp_path / "o.jsonl", template=str(tmp_path / "t.jinja"))
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match=r"nowhere\.jinja: cannot be read"):
        ask(FaultyEndpoint(url="http://127.0.0.1:9/v1"), data, tmp_path / "o.jsonl", template="nowhere.jinja")


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    data = write_cases(tmp_path / "d.jsonl", 2)
    nobody = FaultyEndpoint(url="http://127.0.0.1:9/v1")
    for output, message in (
        (data, "would take the place of what is read"),
        (write_jsonl(tmp_path / "mine.jsonl", []), "exists, and no mine.answers.sqlite beside it says"),
        (tmp_path / "o.json", "give a name that ends in .jsonl"),
        (tmp_path / "nowhere" / "o.jsonl", "make it first"),
    ):
        with pytest.raises(ConfigError, match=message):
            ask(nobody, data, output)


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
    assert "30 rows, 12 of them settled; 18 to ask" in shown.out
    assert "expected, at most" in shown.out


def test_a_tokenizer_counts(tmp_path: Path) -> None:
    backbone = save_backbone(tmp_path / "tiny")
    data = write_cases(tmp_path / "d.jsonl", 3)
    endpoint = FaultyEndpoint(url="http://127.0.0.1:9/v1")
    survey = survey_rationales(teacher_config(endpoint, tokenizer=str(backbone)), data, tmp_path / "o.jsonl")
    assert survey.counted_by == f"the tokenizer {backbone}"
    assert survey.prompt_tokens > 3 * 400  # bytes, or nearly


def test_exit_codes_and_what_is_said(tmp_path: Path, capsys: Capsys) -> None:
    data = write_cases(tmp_path / "d.jsonl", 6)

    def generate(endpoint: FaultyEndpoint, name: str, *more: str) -> Any:
        arguments = ["--data", data, "--output", tmp_path / name, "--teacher", "openai:tiny"]
        return run_here(capsys, "rationales", "generate", *arguments, "--base-url", endpoint.url, *more)

    with serving(FaultyEndpoint(script=["500"])) as endpoint:
        done = generate(endpoint, "a.jsonl")
        assert (done.code, done.err) == (0, "")
        assert "6 of 6 rows have a rationale" in done.out
        assert "7 requests in this run, 6 answered, 1 failed (1 HTTP 500)" in done.out
        endpoint.script = ["refusal"]
        done = generate(endpoint, "b.jsonl", "--require-all")
        assert done.code == 1
        assert "1 rejected: 1 refused; --retry-rejected asks them again" in done.out
        assert generate(endpoint, "b.jsonl").code == 0
        assert generate(endpoint, "b.jsonl", "--retry-rejected", "--require-all").code == 0
        spent = generate(
            endpoint,
            "c.jsonl",
            "--input-price",
            "1000",
            "--output-price",
            "1000",
            "--max-cost",
            "0.5",
            "--max_tokens",
            "50",
        )
        assert spent.code == 3
        assert "rows not asked; raise --max-cost and run again to go on" in spent.out
    for arguments, message in (
        (["--data", data, "--output", tmp_path / "e.jsonl"], "no teacher is given: --teacher openai:MODEL or"),
        (["--output", tmp_path / "e.jsonl", "--teacher", "openai:x"], "no rows are given: --data FILE"),
        (["--data", data, "--output", tmp_path / "e.jsonl", "--teacher", "x"], "write openai:MODEL or local:"),
    ):
        done = run_here(capsys, "rationales", "generate", *arguments)
        assert (done.code, len(done.error_lines)) == (2, 1)
        assert message in done.err


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
            "dhrd: interrupted; answers so far are kept: run the same command again to go on\n"
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


SUPERGLUE = ("boolq", "cb", "copa", "multirc", "rte", "wic", "wsc")


@pytest.mark.parametrize("task", SUPERGLUE)
@pytest.mark.parametrize("label_hidden", [False, True])
def test_prompts_of_superglue_tasks(shared_data: Path, tmp_path: Path, task: str, label_hidden: bool) -> None:
    root = str(shared_data / "superglue")
    with serving(FaultyEndpoint(reply=lambda prompt: f"So it is.\n{SENTINEL}\nx")) as endpoint:
        config = teacher_config(endpoint, label_hidden=label_hidden)
        config = config.model_copy(
            update={"data": config.data.model_copy(update={"superglue_root": root, "labels": None})}
        )
        generate_rationales(config, f"superglue:{task}", tmp_path / "o.jsonl", limit=3)
    rows = open_source(f"superglue:{task}", config.data).load(limit=3)
    source = open_source(f"superglue:{task}", config.data)
    assert source.labels is not None
    prompts = sorted({body["messages"][0]["content"] for body in endpoint.requests})
    assert len(prompts) == 3
    for row in rows:
        assert isinstance(row.label, str)
        word = source.labels.write(source.labels.encode(row.label))
        own = [
            prompt for prompt in prompts if str(next(v for v in row.fields.values() if isinstance(v, str))) in prompt
        ]
        assert own
        assert SENTINEL in own[0]
        assert (f"The correct answer is: {word}" in "".join(own)) is not label_hidden


# --- the local teacher


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
    data = write_cases(tmp_path / "d.jsonl", 4)
    backbone = make_backbone("llama", max_position_embeddings=2048)
    settings = {"name": "local:tiny", "base_url": None, "max_tokens": 6, "temperature": 1.0, "attempts": 2}
    found = generate_rationales(
        teacher_config(FaultyEndpoint(), **settings), data, tmp_path / "o.jsonl", teacher=backbone
    )
    assert found.tally.num_requests == 8


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
