"""The label set of training rows: found or given, refused, doubted. The letters name reported cases."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.config import load_config
from dhrd.data.label_sets import infer_labels
from dhrd.data.records import Example
from dhrd.data.rows import load_rows
from dhrd.errors import DataError
from helpers.reading import labelled, labels_of, refused_by_run, run_rows, warnings_of


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        pytest.param(([0, 0, 1], [1, 0, 0]), {}, "[0, 0, 1] looks like multi-hot", id="L4: no names"),
        pytest.param(([0.0, 1.0, 1.0], [1, 0, 0]), {}, "[0, 1, 1] looks like multi-hot", id="L4: decimals"),
        pytest.param(([0, 1], [1, 0]), {}, "[0, 1] looks like multi-hot", id="L4: two labels"),
        pytest.param(([0, 1], [1, 1]), {"data__labels": ["a", "b"]}, "is multi-hot, or lists both", id="L4: either"),
        pytest.param(([0, 0, 1], [1]), {"data__labels": list("abcd")}, "these rows have 4 labels", id="L4: length"),
        pytest.param(([True, False], [False, True]), {}, "has booleans; list the names", id="L4: booleans"),
        pytest.param((["a", "a"], ["b"]), {}, "['a', 'a'] has 'a' twice", id="L4: twice"),
        pytest.param((["a", "a "], ["b"]), {}, "has 'a' twice", id="L4: twice but for space"),
        pytest.param(([2, 2], [1]), {}, "[2, 2] has '2' twice", id="L4: integers twice"),
        pytest.param((["a", ""], ["b"]), {}, "['a', ''] has an empty name", id="L4: empty"),
        pytest.param((["a", "\u200b"], ["b"]), {}, "has an empty name", id="L4: nothing to see"),
        pytest.param((["a", None], ["b"]), {}, "['a', None] is neither an integer, a name", id="L4: null"),
    ],
)
def test_l4_lists_that_cannot_be_meant(labels: Any, settings: dict[str, Any], message: str) -> None:
    assert message in refused_by_run(labelled(*labels), **settings)


def test_l4_lists_of_places_stay_lists() -> None:
    found = run_rows(labelled([0, 2], [1], []), data__labels=["a", "b", "c"])
    assert labels_of(found.train) == [("a", "c"), ("b",), ()]


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(("US", "us"), id="L7: case"),
        pytest.param(("ß", "ss"), id="L7: case folding"),
        pytest.param(("new york", "newyork"), id="L8: space inside"),
        pytest.param(("so\u200bso", "soso"), id="L8: zero width inside"),
        pytest.param(("FORÊT", "fore\u0302t"), id="L8: case and Unicode form"),
    ],
)
@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
def test_l7_names_alike_but_for_case_or_space_are_refused_with_counts(pair: tuple[str, str], given: bool) -> None:
    message = refused_by_run(labelled(pair[0], *pair, "other"), **({"data__labels": [*pair, "other"]} if given else {}))
    assert message.startswith("labels that differ only in case or space: ")
    assert "(2 rows)" in message
    assert "(1 rows)" in message


@pytest.mark.parametrize("blank", ["", "  ", "\u200b", "\u00ad \ufeff", None, float("nan")])
def test_l8_blank_labels_are_refused(blank: Any) -> None:
    assert "row 1: label: missing" in refused_by_run(labelled("a", blank, "b"))


def test_l8_a_name_of_two_lines_is_refused() -> None:
    assert "names must be a single" in refused_by_run(labelled("a\nb", "c"))


@pytest.mark.parametrize(
    ("labels", "settings", "names"),
    [
        pytest.param((0, 1990), {}, ("0", "1990"), id="L9: far apart"),
        pytest.param((0, 2_000_000_000), {}, ("0", "2000000000"), id="L9: farther"),
        pytest.param((30, 10, 20), {}, ("10", "20", "30"), id="L9: tens"),
        pytest.param((30, 10, 20), {"model__num_labels": 3}, ("10", "20", "30"), id="L9: tens, counted"),
        pytest.param((1, 2), {}, ("1", "2"), id="L9: from one"),
        pytest.param((1, 0), {"model__num_labels": 3}, ("0", "1", "2"), id="L9: the highest left out"),
        pytest.param((-1, 1), {}, ("-1", "1"), id="L9: signed"),
    ],
)
def test_l9_integers_are_names_wherever_they_begin(labels: Any, settings: Any, names: tuple[str, ...]) -> None:
    assert run_rows(labelled(*labels), **settings).labels.names == names


@pytest.mark.parametrize("per_label", [1, 2], ids=["a class a row", "two rows a class"])
def test_l9_very_many_labels_are_a_question(per_label: int) -> None:
    examples = [Example(label=f"id{i // per_label}") for i in range(1001 * per_label)]
    with pytest.raises(DataError, match=r"have 1001 labels .*; if that is meant, give model\.num_labels=1001"):
        infer_labels(examples)
    assert len(infer_labels(examples, num_labels=1001)) == 1001


def test_l9_so_is_a_label_a_row() -> None:
    assert "the 25 training rows have 25 labels" in refused_by_run(labelled(*(f"id{i}" for i in range(25))))
    assert len(run_rows(labelled(*map(str, range(12)))).labels) == 12  # a dozen rows may be


def test_l9_a_class_that_never_occurs_is_said(caplog: pytest.LogCaptureFixture) -> None:
    run_rows(labelled(0, 1), model__num_labels=4)
    assert "labels: no training row has '2', '3'" in caplog.text


def test_l8_given_names_that_are_one_are_shown_as_given() -> None:
    message = refused_by_run(labelled("a", "b"), data__labels=["a", "b", "a "])
    assert "data.labels: 'a' and 'a ' are the same label; give one of them" in message


def examples_of(*labels: Any) -> list[Example]:
    return [Example(input_text="a", label=label) for label in labels]


@pytest.mark.parametrize(
    ("labels", "options", "names", "multi_label"),
    [
        (("b", "a", "c", "a"), {}, ("a", "b", "c"), False),
        ((2, 0), {}, ("0", "2"), False),
        ((1, 0), {"num_labels": 4}, ("0", "1", "2", "3"), False),
        ((1, 0), {"names": ["neg", "pos"]}, ("neg", "pos"), False),
        (("b", "a"), {"names": ["b", "a", "z"]}, ("b", "a", "z"), False),
        (("b", "a"), {"num_labels": 2}, ("a", "b"), False),
        ((("b", "c"), (), ("a",)), {}, ("a", "b", "c"), True),
        (((0, 2), (1,)), {}, ("0", "1", "2"), True),
        ((10, 9, "-1"), {}, ("-1", "9", "10"), False),
        ((0, "a"), {}, ("0", "a"), False),
        (("true", "false"), {}, ("false", "true"), False),
    ],
)
def test_labels_are_found_in_the_rows(labels: Any, options: Any, names: tuple[str, ...], multi_label: bool) -> None:
    found = infer_labels(examples_of(*labels), **options)
    assert (found.names, found.multi_label) == (names, multi_label)
    assert found.words == names
    assert len(found) == len(names)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (("a", "a"), {}, r"have 1 label\(s\) \(a\); a classifier needs at least two"),
        ((0, 0), {}, r"have 1 label\(s\) \(0\); a classifier needs at least two"),
        (((), ()), {}, "have 0 label"),
        (("a", "b", "c"), {"num_labels": 2}, r"model.num_labels is 2, but there are 3 labels \(a, b, c\); correct it"),
        (("a", "b"), {"names": ["a", "b"], "num_labels": 3}, "model.num_labels is 3, but there are 2 labels"),
    ],
)
def test_label_sets_that_cannot_be(labels: Any, options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer_labels(examples_of(*labels), **options)


def doubts(caplog: pytest.LogCaptureFixture, rows: list[dict[str, Any]], **settings: Any) -> str:
    return "\n".join(warnings_of(caplog, lambda: run_rows(rows, **settings)))


def test_l13_a_label_a_row_is_doubted(caplog: pytest.LogCaptureFixture) -> None:
    found = [{**row, "id": f"r{number}"} for number, row in enumerate(labelled("a", "b", "c", count=5))]
    assert "is data.columns.label the right column?" in doubts(caplog, found, data__columns={"label": "id"})
    assert "data.columns.label" not in doubts(caplog, found)


@pytest.mark.parametrize("labels", [("a|b", "a"), ("['a', 'b']", "a"), ("a, b", "a", "b"), ("a;b", "a", "b")])
def test_l13_labels_that_look_like_lists_are_doubted(labels: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert f"{labels[0]!r} look like lists; data.label_separator" in doubts(caplog, labelled(*labels))


def test_l13_names_with_a_comma_are_not(caplog: pytest.LogCaptureFixture) -> None:
    assert doubts(caplog, labelled("Rome, Italy", "Paris, France", "[sic")) == ""


@pytest.mark.parametrize("label", ["('a', 'b')", "a/b", "a+b", "a & b"])
def test_l13_other_spellings_of_lists_are_doubted(label: str, caplog: pytest.LogCaptureFixture) -> None:
    labels = [label, "a", "b", "a", "b"]
    rows = [{"input_text": f"t {number}", "label": one} for number, one in enumerate(labels)]
    load_rows(load_config(loss__reasoning_weight=0), rows)
    assert "look like lists" in caplog.text


def test_l13_a_label_a_row_is_doubted_in_small_too(caplog: pytest.LogCaptureFixture) -> None:
    load_rows(load_config(loss__reasoning_weight=0), [{"input_text": f"t {n}", "label": f"id {n}"} for n in range(6)])
    assert "labels: 6 in 6 rows; is data.columns.label the right column?" in caplog.text


def test_l8_two_pictures_of_one_character_are_refused() -> None:
    rows = [{"input_text": f"t {label}", "label": label} for label in ("\u2764", "\u2764\ufe0f")]
    with pytest.raises(DataError, match="differ only in case or space"):
        load_rows(load_config(loss__reasoning_weight=0), rows)
