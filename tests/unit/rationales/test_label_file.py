"""The labels that a teacher chooses among, and what each means."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.label_file import labels_to_choose
from helpers.endpoint import VotingEndpoint, serving
from helpers.teacher import ballot, label, write_unlabelled


def choose(tmp_path: Path, text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    path = tmp_path / "labels.yaml"
    path.write_text(text, encoding="utf-8")
    labels, meanings = labels_to_choose(load_config(teacher__labels=str(path), data__labels=["x", "y"]), None)
    assert labels.ordered and not labels.multi_label
    return labels.names, meanings


@pytest.mark.parametrize(
    ("text", "names", "meanings"),
    [
        ("refund: money back\nexchange: another one\n", ("refund", "exchange"), ("money back", "another one")),
        ("- b\n- a\n", ("b", "a"), ("", "")),
        ("no: it is not\nyes:\n", ("no", "yes"), ("it is not", "")),  # names, not booleans
        ("1: one\n10: null\n", ("1", "10"), ("one", "")),
        ('a: >\n  folded\n  text\n"b ": "null"\n', ("a", "b"), ("folded text", "null")),
    ],
)
def test_names_and_meanings(tmp_path: Path, text: str, names: tuple[str, ...], meanings: tuple[str, ...]) -> None:
    found, means = choose(tmp_path, text)
    assert found == names
    assert means == dict(zip(names, meanings, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels.yaml: contains no labels; write one `NAME: what it means`"),
        ("refund", "contains no labels"),
        ("a: one\n", r"labels.yaml: .*has? 1 label|needs at least two"),
        ("a: one\na: two\n", "labels.yaml: .*the same label"),
        ("a: one\nA: two\n", "labels.yaml: "),
        ("a: [one]\nb: two\n", "labels.yaml:1: a label and its meaning must be text"),
        ("a: one\nb: {c: d}\n", "labels.yaml:2: a label and its meaning must be text"),
        ("a: one: two\n", "labels.yaml:1: not valid YAML"),
        ("a: 'one\n", "not valid YAML"),
        ("a: &x one\n? [b]\n: two\n", "labels.yaml:2: a label and its meaning must be text"),
    ],
)
def test_what_is_no_file_of_labels(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        choose(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        labels_to_choose(load_config(teacher__labels=str(tmp_path / "nowhere.yaml")), None)


def test_labels_without_a_file() -> None:
    own = LabelSet(("store_credit", "decline"), ("store credit", "decline"))
    assert labels_to_choose(load_config(), own) == (own, {"store credit": "", "decline": ""})
    labels, meanings = labels_to_choose(load_config(data__labels=["b", "a"]), own)
    assert (labels.names, meanings) == (("b", "a"), {"b": "", "a": ""})
    with pytest.raises(ConfigError, match="no labels given"):
        labels_to_choose(load_config(), None)
    with pytest.raises(ConfigError, match=r"data\.multi_label: a teacher gives each row one label"):
        labels_to_choose(load_config(data__labels=["a", "b"], data__multi_label=True), None)
    with pytest.raises(DataError, match="same label"):
        labels_to_choose(load_config(data__labels=["a", "a "]), None)


def test_the_teacher_reads_the_meanings(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("keep: it stays\nreturn:\n", encoding="utf-8")
    with serving(VotingEndpoint(vote=ballot("keep"))) as endpoint:
        label(endpoint, write_unlabelled(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl", votes=1, labels=str(path))
    prompt = endpoint.requests[0]["messages"][0]["content"]
    assert "Possible answers:\n- keep: it stays\n- return\n\nThink" in prompt
