"""Classification with the LM head alone, by the likelihood of each label's words as the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from dhrd.data.collate import pad_inputs
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from dhrd.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def score_labels(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[Sequence[int]],
    labels: LabelSet,
    *,
    with_eos: bool,
    batch_size: int = 16,
) -> np.ndarray:
    """Log-probability of each label's words as the answer, log p(<answer>, y | x), no rationale in between.

    Args:
        model: Any causal language model.
        tokenizer: Its tokenizer.
        inputs: Token ids of each input.
        labels: The label set; one label per row.
        with_eos: Whether the answer ends in eos, as for a trained reasoning head but not for an untrained one.
        batch_size: Sequences per forward pass; each input has C of them.

    Returns:
        (rows, C) in nats.

    Raises:
        DataError: Rows may have several labels, so that every set of labels would be a candidate.
    """
    if labels.multi_label:
        raise DataError("labels are scored against each other, but these rows may have several; leave the arm out")
    marker = SequenceTemplate().answer
    answers = tokenizer([marker + word for word in labels.words], add_special_tokens=False)["input_ids"]
    if with_eos:
        answers = [[*answer, tokenizer.eos_token_id] for answer in answers]
    pairs = [(row, label) for row in range(len(inputs)) for label in range(len(labels))]
    pairs.sort(key=lambda pair: len(inputs[pair[0]]) + len(answers[pair[1]]))
    scores = np.zeros((len(inputs), len(labels)), dtype=np.float64)
    model.eval()
    for start in range(0, len(pairs), batch_size):
        some = pairs[start : start + batch_size]
        found = _score(model, tokenizer.pad_token_id, [(inputs[row], answers[label]) for row, label in some])
        for (row, label), score in zip(some, found, strict=True):
            scores[row, label] = score
    return scores


def _score(model: PreTrainedModel, pad: int, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[float]:
    """log p(answer | input) of each pair, padded on the left so that all answers end in the last column."""
    longest = max(len(answer) for _, answer in sequences)
    whole = [[*first, *answer] for first, answer in sequences]
    batch = pad_inputs(whole, pad_token_id=pad, padding_side="left").to(model.device)
    with torch.inference_mode():
        logits = model(
            input_ids=batch.input_ids_BT,
            attention_mask=batch.attention_mask_BT.long(),
            position_ids=batch.position_ids_BT,
            logits_to_keep=longest + 1,
            use_cache=False,
        ).logits
    log_p = logits[:, :-1].float().log_softmax(-1)
    targets = batch.input_ids_BT[:, -longest:]
    picked = log_p.gather(-1, targets[..., None])[..., 0].double()
    return [float(row[longest - len(answer) :].sum()) for row, (_, answer) in zip(picked, sequences, strict=True)]
