"""Labels: found in the rows, encoded, written; batches moved and counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dhrd.data.collate import collate, pad_inputs
from dhrd.data.label_sets import infer_labels
from dhrd.data.records import EncodedExample, Example, LabelSet
from dhrd.errors import DataError


def rows(*labels: Any) -> list[Example]:
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
    found = infer_labels(rows(*labels), **options)
    assert (found.names, found.multi_label) == (names, multi_label)
    assert found.words == names
    assert len(found) == len(names)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (("a", "a"), {}, r"have 1 label\(s\) \(a\); a classifier needs two"),
        ((0, 0), {}, r"have 1 label\(s\) \(0\); a classifier needs two"),
        (((), ()), {}, "have 0 label"),
        (("a", "b", "c"), {"num_labels": 2}, r"model.num_labels is 2, but there are 3 labels \(a, b, c\); correct it"),
        (("a", "b"), {"names": ["a", "b"], "num_labels": 3}, "model.num_labels is 3, but there are 2 labels"),
    ],
)
def test_label_sets_that_cannot_be(labels: Any, options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer_labels(rows(*labels), **options)


def test_names_and_integers_encode_to_the_same_index() -> None:
    labels = LabelSet(("no", "yes", "maybe"))
    assert labels.encode("maybe") == labels.encode(2) == (2,)


def test_several_labels_are_sorted() -> None:
    labels = LabelSet(("a", "b", "c"), multi_label=True)
    assert labels.encode(("c", "a")) == (0, 2)
    assert labels.encode(()) == ()


@pytest.mark.parametrize(
    ("multi_label", "label", "message"),
    [
        (False, "z", "f:3: label: 'z' is unknown; labels are 'a', 'b' (correct the row, or list all labels in data.la"),
        (False, 2, "f:3: label: 2 is out of range; labels are 0 to 1"),
        (False, -1, "f:3: label: -1 is out of range; labels are 0 to 1"),
        (False, ("a",), "f:3: label: a list (('a',)) where the other rows have one label"),
        (True, "a", "f:3: label: one label ('a') where the other rows have a list of labels"),
        (True, ("a", "z"), "f:3: label: 'z' is unknown"),
    ],
)
def test_a_label_that_does_not_fit_is_named(multi_label: bool, label: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        LabelSet(("a", "b"), multi_label=multi_label).encode(label, "f:3")
    assert str(caught.value).startswith(message)


def test_answers_are_written_in_words() -> None:
    labels = LabelSet(("false", "true"), ("no", "yes"))
    assert labels.write((1,)) == "yes"
    several = LabelSet(("a", "b", "c"), multi_label=True)
    assert several.write((0, 2)) == "a, c"
    assert several.write(()) == "none"


def test_the_template_sees_the_columns_and_the_text() -> None:
    example = Example(input_text="mapped", fields={"body": "mapped", "input_text": "another"})
    assert example.columns() == {"body": "mapped", "input_text": "mapped"}
    assert Example(fields={"premise": "p"}).columns() == {"premise": "p"}


def test_a_batch_moves_whole_and_counts_its_tokens() -> None:
    examples = [
        EncodedExample(id="a", input_ids=[1, 2, 3], continuation_ids=[4], label=(0,)),
        EncodedExample(id="b", input_ids=[1], continuation_ids=[], label=(1,)),
    ]
    training, inference = (
        collate(examples, pad_token_id=0, num_labels=2),
        pad_inputs([[1, 2, 3, 4], [1]], pad_token_id=0),
    )
    assert training.num_tokens == inference.num_tokens == 5
    moved = training.to("meta")
    assert moved.ids == ("a", "b")
    tensors = [value for name in training.__slots__ if isinstance(value := getattr(moved, name), torch.Tensor)]
    assert len(tensors) == 10
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert inference.to("cpu").label_BC is None
