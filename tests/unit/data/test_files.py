"""Which files a spec of rows names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.files import files_of_rows, files_of_settings

SETTINGS = DataSettings(superglue_root="/data/superglue")


@pytest.mark.parametrize(
    ("spec", "files"),
    [
        ("rows.jsonl", ["rows.jsonl"]),
        (Path("a/rows.csv"), ["a/rows.csv"]),
        ("superglue:wic", ["/data/superglue/WiC"]),
        ("superglue:none", ["superglue:none"]),
        ("hub:imdb", ["imdb"]),
        (["a.csv", Path("b.csv")], ["a.csv", "b.csv"]),
        (["a text", {"input_text": "a"}], ["a text"]),
        ({"input_text": ["a"]}, []),
        ("", []),
        (None, []),
    ],
)
def test_the_files_of_a_spec(spec: Any, files: list[str]) -> None:
    assert [str(path) for path in files_of_rows(spec, SETTINGS)] == files


def test_the_home_directory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert list(files_of_rows("~/rows.csv", SETTINGS)) == [Path("/home/me/rows.csv")]


def test_the_files_of_a_run() -> None:
    settings = DataSettings(train="a.csv", test="superglue:cb", superglue_root="/data")
    assert list(map(str, files_of_settings(settings))) == ["a.csv", "/data/CB"]
