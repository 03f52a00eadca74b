"""Wrong calls, as a person makes them: each is told in words that say what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.rows import write_jsonl
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]

_CALLS = [
    ("train rows.jsonl", "rows are given by --set data.train=FILE, or by a config, which dhrd init FILE writes"),
    ("evaluate rows.jsonl", "rows are given by --data FILE"),
    ("predict rows.jsonl --model a --input b --output c.jsonl", "rows are given by --input FILE"),
    (
        "train --config rows.jsonl",
        "is a file of rows, and this is for settings in YAML; give --set data.train=rows.jsonl",
    ),
    ("train --config directory", "cannot be read (Is a directory); give a file of settings in YAML"),
    ("train --set data.train=other.jsonl", "dhrd init other.jsonl looks at the columns and writes a config"),
    (
        "train --set data.input_template={{titel}} --set data.train=rows.jsonl",
        "dhrd init rows.jsonl looks at the columns and writes a config",
    ),
    ("train --set data.train=hub:", "YAML reads a colon at the end as that of a key: put quotes around it"),
    (
        "train --set data.input_template={{titel}} --set data.train=rows.jsonl",
        "'titel' is undefined; the row's columns",
    ),
    ("init rows.jsonl --output there.yaml", "is there already; replace it with --overwrite"),
    ("init one.jsonl --output new.yaml", "name it: --set data.columns.label=COLUMN"),
    ("doctor --json told.txt", "what is written is JSON; give a name that ends in .json"),
]


@pytest.mark.parametrize(("call", "told"), _CALLS, ids=[call for call, _ in _CALLS])
def test_the_way_out_is_told(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"input_text": f"the order {number} has not come", "label": "ab"[number % 2]} for number in range(9)]
    write_jsonl(Path("rows.jsonl"), rows)
    write_jsonl(Path("other.jsonl"), [{"body": row["input_text"], "queue": row["label"]} for row in rows])
    write_jsonl(Path("one.jsonl"), [{"body": row["input_text"]} for row in rows])
    Path("directory").mkdir()
    Path("there.yaml").touch()
    ended = run_here(capsys, *call.split())
    assert ended.code == 2
    assert told in ended.err, ended.err
    assert len(ended.error_lines) <= 1, "one line"
