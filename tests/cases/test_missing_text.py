"""Rows without text: an empty cell is fine, a column that is not there and a row without anything are not, anywhere."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from dhrd import Classifier, DataError
from dhrd.artifact.info import read_info
from helpers.artifacts import change, predict, save_tiny
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl, run_here
from helpers.serving import running

LABELS = ("bill", "login", "mail")
Capsys = pytest.CaptureFixture[str]


def tickets(*texts: tuple[str, str]) -> list[dict[str, str]]:
    """Rows as a help desk exports them."""
    return [
        {"No": str(n), "Subject": subject, "Message Body": body, "Queue": LABELS[n % 3]}
        for n, (subject, body) in enumerate(texts)
    ]


TRAINED = tickets(*[("" if n == 3 else "it is late", f"my order {n} has not come yet") for n in range(12)])
BLANK = tickets(("it is late", ""), ("", " "), ("", "where is it"))


def write_csv(path: Path, rows: list[dict[str, str]], **renamed: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([renamed.get(name, name) for name in rows[0]])
        writer.writerows(row.values() for row in rows)
    return path


@pytest.fixture
def model(capsys: Capsys, tmp_path: Path, tiny_backbone: Path) -> Path:
    """An artifact with the template that `dhrd init` proposes for rows of which one has an empty cell."""
    rows, settings = write_csv(tmp_path / "train.csv", TRAINED), tmp_path / "config.yaml"
    ended = run_here(capsys, "init", rows, "--output", settings, "--set", f"model.name_or_path={tiny_backbone}")
    assert ended.code == 0, ended.err
    from dhrd.config import load_config

    data = load_config(settings).data
    directory = save_tiny(tmp_path / "model")
    change(directory / "dhrd.json", input_template=data.input_template, columns=dict(data.columns))
    assert read_info(directory).input_template == data.input_template
    return directory


@pytest.mark.parametrize(
    ("renamed", "lacks"),
    [
        ({"Subject": "subject"}, "'Subject' is undefined"),
        ({"Message Body": "Body"}, "Message Body"),
        ({"Subject": "Betreff", "Message Body": "Nachricht"}, "'Subject' is undefined"),
    ],
)
def test_a_file_without_a_text_column_is_not_labelled(
    capsys: Capsys, tmp_path: Path, model: Path, renamed: dict[str, str], lacks: str
) -> None:
    rows = write_csv(tmp_path / "other.csv", TRAINED, **renamed)
    ended = predict(capsys, model, rows)
    assert ended.code == 2 and len(ended.error_lines) == 1
    assert lacks in ended.err and "at least 9 more rows are like it" in ended.err
    ended = run_here(capsys, "evaluate", "--model", model, "--data", rows, "--device", "cpu")
    assert ended.code == 2 and lacks in ended.err
    columns = {renamed.get(name, name): value for name, value in TRAINED[0].items()}
    classifier = Classifier.from_pretrained(model, device="cpu", dtype=None)
    with pytest.raises(DataError, match=lacks):
        classifier.predict([columns])
    with running(classifier) as server:
        response = server.post("/classify", {"input": [TRAINED[0], columns]})
        assert response.status_code == 422 and lacks in response.json()["error"]["message"]


def test_empty_cells_are_labelled(capsys: Capsys, tmp_path: Path, model: Path) -> None:
    ended = predict(capsys, model, write_csv(tmp_path / "some.csv", [BLANK[0], BLANK[2]]))
    assert ended.code == 0, ended.err


def test_a_row_without_anything_is_refused_or_skipped(capsys: Capsys, tmp_path: Path, model: Path) -> None:
    rows, output = write_csv(tmp_path / "blank.csv", BLANK), tmp_path / "out.jsonl"
    told = "there is nothing in Message Body, Subject; fill it in or remove the row"
    ended = predict(capsys, model, rows)
    assert ended.code == 2 and f"{rows}:3: {told}" in ended.err and len(ended.error_lines) == 1
    command: tuple[Any, ...] = ("predict", "--model", model, "--input", rows, "--output", output, "--device", "cpu")
    assert run_here(capsys, *command, "--on-error", "skip").code == 0
    assert [row["id"] for row in read_jsonl(output)] == ["0", "2"]
    assert told in Path(f"{output}.errors.jsonl").read_text()
    ended = run_here(capsys, "evaluate", "--model", model, "--data", rows, "--device", "cpu")
    assert ended.code == 2 and f"{rows}:3: {told}" in ended.err
    classifier = Classifier.from_pretrained(model, device="cpu", dtype=None)
    with pytest.raises(DataError, match=f"row 1: {told}"):
        classifier.predict(BLANK)
    with running(classifier) as server:
        response = server.post("/classify", {"input": BLANK})
        assert response.status_code == 422 and told in response.json()["error"]["message"]


def test_a_row_without_anything_is_not_trained_on(capsys: Capsys, tmp_path: Path, tiny_backbone: Path) -> None:
    rows = [{"a": "x", "b": None, "label": "p"}, {"a": " ", "b": "", "label": "q"}]
    path, template = write_jsonl(tmp_path / "rows.jsonl", rows), "A {{ a or '' }} B {{ b or '' }}"
    settings = (f"data.train={path}", f"model.name_or_path={tiny_backbone}", f"data.input_template={template}")
    ended = run_here(
        capsys, "train", "--output-dir", tmp_path / "out", *(part for one in settings for part in ("--set", one))
    )
    assert ended.code == 2 and f"{path}:2: there is nothing in a, b; fill it in or remove the row" in ended.err, (
        ended.err
    )
