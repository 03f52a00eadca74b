"""The documents' `load_json_dataset`: a file to encoded rows for a `DataLoader`."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from dhrd.compat.dataset import load_json_dataset
from dhrd.config import LossSettings
from dhrd.data.records import IGNORE, LabelSet
from dhrd.errors import DataError, ModelError
from helpers.rows import make_tokenizer, write_jsonl

ROWS = [
    {"input_text": "good", "label": 1, "rationale": "because"},
    {"input_text": "rather bad", "label": 0},
    {"input_text": "fine", "label": 1},
]


def test_a_file_becomes_padded_batches(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    data = load_json_dataset(file_path=path, tokenizer=make_tokenizer(), max_input_length=6, max_rationale_length=30)
    assert len(data) == 3
    assert data.labels.names == ("0", "1")
    assert [len(data[i].input_ids) for i in range(3)] == [4, 6, 3]
    assert len(data[0].input_ids) + len(data[0].continuation_ids) == 30
    (batch,) = DataLoader(data, batch_size=3, collate_fn=data.collate_fn)
    assert len(set(batch.ids)) == 3, "rows without an id are named by their text"
    assert batch.input_ids_BT.shape == (3, 30)
    assert batch.label_BC.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_labels_of_training_may_be_given_to_an_evaluation_file(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "dev.jsonl", [{"input_text": "a", "label": "c"}])
    with pytest.raises(DataError, match="a classifier needs at least two"):
        load_json_dataset(path, make_tokenizer())
    for labels in (["a", "b", "c"], LabelSet(("a", "b", "c"))):
        assert load_json_dataset(path, make_tokenizer(), labels=labels)[0].label == (2,)


def test_a_tokenizer_without_a_padding_token_takes_its_end_token(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    tokenizer = make_tokenizer(pad=None)
    data = load_json_dataset(path, tokenizer)
    assert tokenizer.pad_token == "<eos>"
    assert data.pad_token_id == tokenizer.eos_token_id
    with pytest.raises(ModelError, match="neither a pad nor an eos token"):
        load_json_dataset(path, make_tokenizer(pad=None, eos=None))


def test_rows_are_encoded_for_the_losses_that_are_given(tmp_path: Path) -> None:
    kinds = [row | {"rationale": f"kind {'xyz'[i % 3]}"} for i, row in enumerate(ROWS * 2)]
    path = write_jsonl(tmp_path / "rows.jsonl", kinds)
    of_all, continued, own, pooled = (
        load_json_dataset(path, make_tokenizer(), loss=LossSettings(**loss))
        for loss in (
            {},
            {"lm_targets": "continuation", "keyword_weight": 1},
            {"lm_targets": "input"},
            {"reasoning_weight": 0},
        )
    )
    targets = [int((data.collate_fn([data[0]]).target_BT != IGNORE).sum()) for data in (of_all, continued, own)]
    rationale, text = len(of_all[0].continuation_ids), len(of_all[0].input_ids)
    assert targets == [text + rationale - 1, rationale, text - 1]
    assert continued[0].keyword_ids and not of_all[0].keyword_ids
    assert not own[0].continuation_ids and not pooled[0].continuation_ids
