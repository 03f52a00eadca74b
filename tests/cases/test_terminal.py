"""What a terminal and a page get: text from data is only text, whatever it holds."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dhrd._markdown import fenced
from dhrd.cli import main
from helpers.report import html, markdown
from helpers.rows import write_jsonl
from helpers.runs import Ended, flags, rows, run_here, settings, write_rows

MARKUP = ("[/bug]", "[feature request]", "[red]alert", ":smile:")
ESCAPES = ("a\x1b]0;title\x07b", "a\x1b[31mred", "c1\x9b31m", "rtl\u202egnp")
PAGE = ("<img src=x onerror=alert(1)>", "`code`", "a|b", "*stars*", "&lt;b&gt;", "plain")
CAPTURE = pytest.CaptureFixture[str]


def trained(capsys: CAPTURE, backbone: Path, directory: Path, labels: tuple[str, ...]) -> Ended:
    """The end of a one-epoch run on rows of these labels, with validation rows."""
    write_rows(directory, num_train=len(labels) * 3, num_validation=len(labels), labels=labels)
    given = settings(backbone, directory, "training.num_epochs=1", "training.batch_size=4")
    return run_here(capsys, "train", "--device", "cpu", *flags(given))


@pytest.fixture(scope="module")
def brackets(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with rows whose labels look like rich's markup, and an artifact of them in `out`."""
    directory = tmp_path_factory.mktemp("brackets")
    write_rows(directory, num_train=12, num_validation=4, labels=MARKUP)
    given = settings(tiny_backbone, directory, "training.num_epochs=1", "training.batch_size=4")
    with pytest.raises(SystemExit) as ended:
        main(["train", "--device", "cpu", *flags(given)])
    assert ended.value.code == 0
    return directory


def test_f7_labels_that_look_like_markup_are_shown_as_they_are(
    capsys: CAPTURE, tiny_backbone: Path, tmp_path: Path
) -> None:
    """F7: `[/bug]` ended a run in a MarkupError, `[feature request]` was blank, `[red]alert` lost its brackets."""
    ended = trained(capsys, tiny_backbone, tmp_path, MARKUP)
    assert ended.code == 0, ended.err
    for label in MARKUP:
        assert label in ended.out


@pytest.mark.parametrize("folder", ["set[/v2]", "set[v3]", "set:smile:"])
def test_f7_paths_that_look_like_markup(capsys: CAPTURE, brackets: Path, tmp_path: Path, folder: str) -> None:
    """F7: the path of the rows is the table's title."""
    data = tmp_path / folder / "t.jsonl"
    data.parent.mkdir(parents=True)
    write_jsonl(data, rows(8, labels=MARKUP))
    ended = run_here(capsys, "evaluate", "--model", brackets / "out", "--data", data, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert f"{folder}/t.jsonl" in "".join(line.strip() for line in ended.out.splitlines())


def test_f7_compare_names_files_as_they_are(capsys: CAPTURE, brackets: Path, tmp_path: Path) -> None:
    """F7: the names of compared files."""
    files = [tmp_path / "[bold]one.jsonl", tmp_path / "[two].jsonl"]
    for file in files:
        given = "--data", brackets / "validation.jsonl", "--predictions", file, "--device", "cpu"
        assert run_here(capsys, "evaluate", "--model", brackets / "out", *given).code == 0
    ended = run_here(capsys, "compare", *files)
    assert ended.code == 0, ended.err
    assert "[bold]one.jsonl" in ended.out
    assert "[two].jsonl" in ended.out


def test_f7_ids_in_an_audit(capsys: CAPTURE, tmp_path: Path) -> None:
    """F7: ids of flagged rationales are the examples of an audit's table; the page holds no markup of theirs."""
    data = write_jsonl(tmp_path / "t.jsonl", [{"id": f"[/i{n}]", "input_text": f"text {n}", "label": "ab"[n % 2]}
                                              for n in range(6)])  # fmt: skip
    found = write_jsonl(tmp_path / "r.jsonl", [{"id": f"[/i{n}]", "rationale": "\x1b[31m<b>bold</b> a b"}
                                               for n in range(6)])  # fmt: skip
    page = tmp_path / "page.html"
    ended = run_here(capsys, "rationales", "audit", found, "--data", data, "--html", page)
    assert ended.code == 0, ended.err
    assert "[/i0]" in ended.out
    assert "\x1b" not in ended.out
    text = page.read_text(encoding="utf-8")
    assert "<b>bold" not in text
    assert "\x1b" not in text


def narrow(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """stdout and stderr as those of a terminal with this encoding."""
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding=encoding, errors="strict"))
    return written


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_f8_what_the_terminal_cannot_show_is_replaced(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """F8: a label with an emoji on a terminal of cp1252 ended a finished run in a UnicodeEncodeError."""
    write_rows(tmp_path, num_train=8, num_validation=4, labels=("négatif 😀", "weiß"))
    given = settings(tiny_backbone, tmp_path, "training.num_epochs=1", "training.batch_size=4")
    written = narrow(monkeypatch, encoding)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--device", "cpu", *flags(given)])
    sys.stdout.flush()
    assert ended.value.code == 0
    assert "\\U0001f600" in written.getvalue().decode(encoding)


def test_f8_errors_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """F8: the line of an error names a file that stderr cannot show."""
    written = narrow(monkeypatch, "ascii")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--model", str(tmp_path / "modèle")])
    sys.stderr.flush()
    assert ended.value.code == 2
    assert "mod\\xe8le: no such directory" in written.getvalue().decode("ascii")


def test_a7_control_characters_of_labels_reach_neither_terminal_nor_card(
    capsys: CAPTURE, tiny_backbone: Path, tmp_path: Path
) -> None:
    """A7: `ESC]0;title` set the terminal's title; C1 and what turns text around are of the kind."""
    ended = trained(capsys, tiny_backbone, tmp_path, ESCAPES)
    assert ended.code == 0, ended.err
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for text in (ended.out, ended.err, card):
        assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert r"a\x1b]0;title\x07b" in ended.out
    evaluated = run_here(capsys, "evaluate", "--model", tmp_path / "out", "--device", "cpu")
    assert evaluated.code == 0, evaluated.err
    assert not set(evaluated.out + evaluated.err) & set("\x1b\x07\x9b\u202e")


def test_a7_html_of_labels_is_text_in_the_model_card(capsys: CAPTURE, tiny_backbone: Path, tmp_path: Path) -> None:
    """A7: README.md held `<img onerror=…>` raw."""
    ended = trained(capsys, tiny_backbone, tmp_path, PAGE)
    assert ended.code == 0, ended.err
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "<img" not in card
    assert "&lt;img src=x onerror=alert(1)&gt;" in card
    assert "`plain`" in card
    assert r"\`code\`" in card


def report(text: str) -> dict[str, Any]:
    """A report in which every name is the same text."""
    arm = {"arm": text, "title": text, "mean": {text: 0.5}, "seeds": [{"seed": 0, "values": {text: 0.5}}]}
    backbone = {"name": text, "tasks": [{"task": text, "metrics": [text], "arms": [arm]}]}
    undone = [{"cell": text, "why": text}]
    return {"title": text, "question": text, "backbones": [backbone], "undone": undone, "command": text}


@pytest.mark.parametrize("text", [*PAGE[:1], *ESCAPES, "<script>alert(1)</script>"])
def test_a7_reports_hold_names_as_text(text: str) -> None:
    """A7: report.md and report.html."""
    block = fenced(text, "sh")  # the command, as code, in which nothing is HTML
    for page in (markdown(report(text)).replace(block, ""), html(report(text))):
        assert "<img" not in page
        assert "<script" not in page
        assert not set(page) & set("\x1b\x07\x9b\u202e")


def test_a7_settings_are_shown_without_control_characters(capsys: CAPTURE) -> None:
    """A7: `config show` writes YAML's own escapes, so that what it prints is still what was given."""
    import yaml

    given = 'data.labels=["a\\e[31m", "b\\x9b", "né\\u202e"]'
    ended = run_here(capsys, "config", "show", "--set", given)
    assert not set(ended.out) & set("\x1b\x9b\u202e")
    assert yaml.safe_load(ended.out)["data"]["labels"] == ["a\x1b[31m", "b\x9b", "né\u202e"]
    assert "né" in run_here(capsys, "config", "show", "--set", "output_dir=né").out


def test_a7_a_cascades_table(capsys: CAPTURE, brackets: Path) -> None:
    """A7, F7: the cascade's tables, with labels that look like markup."""
    given = "--mode", "cascade", "--threshold", "0.5", "--max-new-tokens", "4", "--limit", "4", "--device", "cpu"
    ended = run_here(capsys, "evaluate", "--model", brackets / "out", *given)
    assert ended.code == 0, ended.err
    assert "[/bug]" in ended.out
    assert "threshold" in ended.out
    assert json.loads((brackets / "out" / "dhrd.json").read_text(encoding="utf-8"))["labels"]["names"]


def test_f13_an_interrupt_before_the_command_begins_is_told(capsys: CAPTURE, monkeypatch: pytest.MonkeyPatch) -> None:
    """F13: as one within it; typer alone would leave in silence."""

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperGroup.make_context", interrupted)
    ended = run_here(capsys, "doctor")
    assert (ended.code, ended.err) == (130, "dhrd: error: interrupted\n")
