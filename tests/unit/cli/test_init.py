"""`dhrd init`, and that training takes what it writes as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dhrd.config import load_config
from helpers.rows import write_jsonl
from helpers.runs import rows, run_here

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with rows whose columns have other names."""
    monkeypatch.chdir(tmp_path)
    renamed = [{"key": row["id"], "text": row["input_text"], "class": row["label"]} for row in rows(30)]
    write_jsonl(tmp_path / "rows.jsonl", renamed)
    return tmp_path


def test_what_it_writes_trains_as_it_is(capsys: Capsys, place: Path, tiny_backbone: Path) -> None:
    ended = run_here(
        capsys, "init", "rows.jsonl", "--set", f"model.name_or_path={tiny_backbone}", "--json", "told.json"
    )
    assert ended.code == 0, ended.err
    text = (place / "config.yaml").read_text(encoding="utf-8")
    assert ended.out == f"{text}\nthe settings are in config.yaml; next: dhrd train --config config.yaml\n"
    assert load_config("config.yaml").data.columns == {"id": "key", "input_text": "text", "label": "class"}
    assert json.loads((place / "told.json").read_text(encoding="utf-8"))["num_rows"] == 30
    command = ended.out.splitlines()[-1].partition("next: dhrd ")[2].split()
    trained = run_here(capsys, *command, "--device", "cpu", "--num-epochs", "1", "--set", "training.mixed_precision=no")
    assert trained.code == 0, trained.err
    assert (place / "output" / "dhrd.json").is_file()


def test_settings_go_to_standard_output_alone(capsys: Capsys, place: Path, tiny_backbone: Path) -> None:
    ended = run_here(capsys, "init", "rows.jsonl", "--output", "-", "--set", f"model.name_or_path={tiny_backbone}")
    assert ended.code == 0, ended.err
    (place / "c.yaml").write_text(ended.out, encoding="utf-8")
    assert load_config("c.yaml").data.train == "rows.jsonl"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output", "there.yaml"], "--output there.yaml: already exists; replace it with --overwrite"),
        (["--output", "rows.jsonl"], "--output rows.jsonl: the output is YAML"),
        (["--set", "data.columns.label=nope"], "data.columns.label: there is no column 'nope'"),
        (["--set", "data.columns.label=text"], "the 30 training rows have 30 labels"),
    ],
)
def test_what_is_refused_writes_nothing(capsys: Capsys, place: Path, flags: list[str], message: str) -> None:
    (place / "there.yaml").write_text("seed: 7\n", encoding="utf-8")
    before = sorted(path.name for path in place.iterdir())
    ended = run_here(capsys, "init", "rows.jsonl", *flags)
    assert (ended.code, message in ended.err) == (2, True), ended.err
    assert sorted(path.name for path in place.iterdir()) == before
    assert (place / "there.yaml").read_text(encoding="utf-8") == "seed: 7\n"


def test_a_file_is_replaced_where_one_says_so(capsys: Capsys, place: Path, tiny_backbone: Path) -> None:
    (place / "config.yaml").write_text("seed: 7\n", encoding="utf-8")
    model = f"model.name_or_path={tiny_backbone}"
    assert run_here(capsys, "init", "rows.jsonl", "--overwrite", "--set", model).code == 0
    assert load_config("config.yaml").seed == 0


def test_the_page_shows_what_it_writes(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    page = (repository / "docs" / "first-run.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(csv|sh|yaml)\n(.*?)```", page, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    Path("tickets.csv").write_text(blocks["csv"], encoding="utf-8")
    ended = run_here(capsys, *blocks["sh"].split()[1:])
    assert ended.code == 0, ended.err
    assert Path("config.yaml").read_text(encoding="utf-8") == blocks["yaml"]
