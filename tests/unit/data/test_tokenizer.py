"""Making a tokenizer fit for classification."""

from __future__ import annotations

import logging

import pytest

from dhrd.data.tokenizer import prepare_tokenizer
from dhrd.errors import ModelError
from helpers.rows import make_tokenizer


def test_both_sides_are_right_and_nothing_is_cut_or_padded() -> None:
    tokenizer = make_tokenizer(padding_side="left", truncation_side="left")
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    assert not prepare_tokenizer(tokenizer)
    assert tokenizer.padding_side == tokenizer.truncation_side == "right"
    assert tokenizer.backend_tokenizer.truncation is tokenizer.backend_tokenizer.padding is None


def test_eos_pads_where_nothing_else_does(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = make_tokenizer(pad=None)
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        assert prepare_tokenizer(tokenizer, "my model")
        assert not prepare_tokenizer(tokenizer, "my model")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert [record.getMessage() for record in caplog.records] == [
        "my model has no padding token; its eos token '<eos>' pads from now on"
    ]


def test_neither_is_an_error() -> None:
    with pytest.raises(ModelError, match="my model: the tokenizer has neither a pad nor an eos token"):
        prepare_tokenizer(make_tokenizer(pad=None, eos=None), "my model")
