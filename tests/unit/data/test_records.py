"""Rows and batches: what a template sees of a row, and what moves with a batch."""

from __future__ import annotations

import torch

from dhrd.data.collate import collate, pad_inputs
from dhrd.data.records import EncodedExample, Example


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
