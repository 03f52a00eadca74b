"""`dhrd label`, as its page has it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from dhrd.config import DataSettings
from dhrd.data.rationales import join_rationales
from helpers.endpoint import FaultyEndpoint, VotingEndpoint, serving
from helpers.reading import load
from helpers.rows import write_jsonl
from helpers.runs import LABELS, flags, read_jsonl, rows, run_here, settings, write_rows
from helpers.teacher import SENTINEL, ballot, manifest, write_cases, write_unlabelled

Capsys = pytest.CaptureFixture[str]
PAGE = Path(__file__).parents[3] / "docs" / "labelling.md"


def block(kind: str) -> str:
    """The page's first block of a kind."""
    found = re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def commands() -> list[list[str]]:
    """The commands of the page, without their remarks."""
    lines = re.findall(r"^dhrd ((?:.*\\\n)*.*)$", block("sh"), re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " "), comments=True) for line in lines]


def first_word_that_is_a_label(prompt: str, seed: int) -> str:
    """A teacher that reads the text, and errs in every fifth vote."""
    word = next(word for word in prompt.split() if word in LABELS)
    said = LABELS[LABELS.index(word) - 1] if seed % 5 == 4 else word
    return f"It says so.\n{SENTINEL}\n{said}"


def test_the_commands_of_the_page(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.yaml").write_text(block("yaml"), encoding="utf-8")
    given = rows(40)
    write_jsonl(tmp_path / "pool.jsonl", [{"id": row["id"], "input_text": row["input_text"]} for row in given[:30]])
    write_jsonl(tmp_path / "gold.jsonl", given[30:])
    gold, dry, label, train = commands()
    with serving(VotingEndpoint(vote=first_word_that_is_a_label)) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        seed = flags(["teacher.seed=0"])
        measured = run_here(capsys, *gold, *seed)
        assert measured.code == 0, measured.err
        assert "gold: 10 of 10 rows right: accuracy 1.000 (95 % interval 0.722 to 1.000), kappa 1.00" in measured.err
        assert "gold: votes that agree by 0.80: 10 rows, 1.00 of them right" in measured.err
        assert endpoint.num_requests == 50
        told = run_here(capsys, *dry, *seed)
        assert told.code == 0
        assert "gold, 5 votes each:\n10 rows, 10 of them done; 0 to ask" in told.out
        assert "rows, 5 votes each:\n30 rows, 0 of them done; 30 to ask" in told.out
        assert endpoint.num_requests == 50
        done = run_here(capsys, *label, *seed)
        assert done.code == 0, done.err
        assert endpoint.num_requests == 200
    assert "30 of 30 rows have a label: labelled.jsonl" in done.out
    assert "0 of them unanimous; 150 votes, 0 unreadable" in done.out
    assert [max(row["label"], key=row["label"].get) for row in read_jsonl(tmp_path / "labelled.jsonl")] == [
        row["label"] for row in given[:30]
    ]
    assert manifest(tmp_path / "labelled.jsonl")["meanings"]["keep"] == "the customer keeps the item"
    audited = run_here(capsys, "rationales", "audit", "labelled.jsonl", "--data", "labelled.jsonl")
    assert audited.code == 0 and "30 of 30 have a rationale" in audited.out
    write_rows(tmp_path)
    backbone = flags([f"model.name_or_path={tiny_backbone}"])
    trained = run_here(capsys, "train", *flags(settings(tiny_backbone, tmp_path)), *train[1:], *backbone)
    assert trained.code == 0, trained.err


def test_what_is_written_under_other_names_is_audited_and_cleaned_under_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"id": "ticket", "input_text": "body", "label": "queue", "rationale": "why"}
    pool = [{"ticket": row["id"], "body": row["input_text"], "id": f"x{n}"} for n, row in enumerate(rows(20))]
    write_jsonl(tmp_path / "pool.jsonl", pool)
    given = flags([f"data.columns.{ours}={theirs}" for ours, theirs in names.items()])
    with serving(VotingEndpoint(vote=first_word_that_is_a_label)) as endpoint:
        teacher = ["--teacher", "openai:tiny", "--base-url", endpoint.url]
        choice = flags([f"data.labels=[{', '.join(LABELS)}]", "teacher.seed=0"])
        done = run_here(capsys, "label", "--data", "pool.jsonl", "--output", "o.jsonl", *teacher, *choice, *given)
    assert done.code == 0, done.err
    audit = ("rationales", "audit", "o.jsonl", "--data", "o.jsonl", *given)
    audited = run_here(capsys, *audit, "--fix", "strip")
    assert audited.code == 0, audited.err
    assert "20 of 20 have a rationale" in audited.out
    assert [set(row) for row in read_jsonl(tmp_path / "o.clean.jsonl")] == [
        {*names.values(), "id", "agreement", "votes"}
    ] * 20
    joined = join_rationales(
        load([{**row, "queue": "keep"} for row in pool], DataSettings(columns=names)), "o.clean.jsonl", columns=names
    )
    assert [row.rationale for row in joined] == ["It says so."] * 20


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ([], "no rows given; use --data FILE, or only --gold FILE"),
        (["--data", "d.jsonl"], "no labels given; use --labels FILE"),
        (["--data", "d.jsonl", "--labels", "no.yaml"], "no.yaml: cannot be read"),
        (["--data", "d.jsonl", "--min-accuracy", "0.5"], "--min-accuracy 0.5 needs gold rows; give --gold FILE"),
        (["--data", "g.jsonl", "--set", "data.labels=[keep, return]"], "label: already has 'keep'"),
        (["--data", "d.jsonl", "--set", "data.labels=[keep, return]", "--temperature", "0"], "--votes 1"),
        (["--data", "d.jsonl", "--set", "data.labels=[keep, return]", "--votes", "0"], "votes"),
    ],
)
def test_errors_come_before_the_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys, more: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_unlabelled(tmp_path / "d.jsonl", 2)
    write_cases(tmp_path / "g.jsonl", 2)
    with serving(FaultyEndpoint()) as endpoint:
        teacher = ["--teacher", "openai:tiny", "--base-url", endpoint.url]
        ended = run_here(capsys, "label", "--output", "o.jsonl", *teacher, *more)
        assert endpoint.num_requests == 0
    assert ended.code == 2 and problem in ended.err
    assert len(ended.error_lines) == 1 or "g.jsonl" in more
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("vote", "more", "code", "told"),
    [
        (ballot("mumble"), ["--data", "d.jsonl"], 0, "2 rejected: 2 no_sentinel; --retry-rejected asks them again"),
        (ballot("mumble"), ["--data", "d.jsonl", "--require-all"], 1, "0 of 2 rows have a label"),
        (ballot("keep"), ["--data", "d.jsonl", "--gold", "g.jsonl", "--min-accuracy", "0.6"], 3, "--min-accuracy 0.6"),
        (ballot("keep"), ["--data", "d.jsonl", "--max-cost", "1e-9"], 3, "max_cost was reached with 2 rows left"),
        (ballot("keep"), ["--gold", "g.jsonl", "--max-cost", "1e-9"], 3, "none of 4 rows has a readable vote"),
    ],
)
def test_how_it_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
    vote: Callable[[str, int], str],
    more: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_unlabelled(tmp_path / "d.jsonl", 2)
    write_cases(tmp_path / "g.jsonl", 4)
    with serving(VotingEndpoint(vote=vote)) as endpoint:
        teacher = ["--teacher", "openai:tiny", "--base-url", endpoint.url, "--attempts", "1"]
        prices = ["--input-price", "1", "--output-price", "1"]
        choice = flags(["data.labels=[keep, return]", "teacher.seed=0"])
        ended = run_here(capsys, "label", "--output", "o.jsonl", *teacher, *prices, *choice, *more)
    assert ended.code == code, ended.err
    assert told in ended.out + ended.err
