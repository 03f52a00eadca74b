"""Decoding: answers are read by the label words, batches do not matter, decoding stops at eos."""

from __future__ import annotations

import pytest
import torch

from dhrd.data.records import LabelSet
from dhrd.data.sequence import EncodedInput
from dhrd.inference.cot import decode, parse_answer
from dhrd.model.generation import generate
from helpers import make_tokenizer
from helpers_models import make_causal_lm

LABELS = LabelSet(("true", "false"), ("yes", "not so"))


@pytest.mark.parametrize(
    ("answer", "label"),
    [(" yes", "true"), (" Not so.", "false"), (" yes\nAnswer: not so", "true"), ("", None), (" yes and no", None)],
)
def test_an_answer_is_one_of_the_words_or_nothing(answer: str, label: str | None) -> None:
    assert parse_answer(answer, LABELS) == label


PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16]]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_batched_decoding_is_one_by_one_decoding(family: str) -> None:
    model, tokenizer = make_causal_lm(family), make_tokenizer()
    together = generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=4)
    apart = [generate(model, tokenizer, [prompt], max_new_tokens=12)[0] for prompt in PROMPTS]
    assert together == apart
    assert all(len(new) <= 12 for new in together)


def test_decoding_stops_at_eos_and_leaves_it_out() -> None:
    model, tokenizer = make_causal_lm("llama", tie_word_embeddings=False), make_tokenizer()
    with torch.no_grad():  # whatever the state, one direction of it now votes for eos
        hidden = model.base_model(torch.tensor([PROMPTS[0]])).last_hidden_state[0, -1]
        model.lm_head.weight[tokenizer.eos_token_id] = 1000 * hidden
    assert generate(model, tokenizer, PROMPTS[:1], max_new_tokens=12) == [[]]


def test_rows_come_back_in_order_with_their_token_counts() -> None:
    model, tokenizer = make_causal_lm("llama"), make_tokenizer()
    inputs = [EncodedInput("", prompt) for prompt in PROMPTS]
    decoded = decode(model, tokenizer, inputs, LABELS, max_new_tokens=6, batch_size=2)
    assert len(decoded) == len(PROMPTS)
    assert all(0 <= row.num_tokens <= 6 for row in decoded)
    assert all(row.label is None for row in decoded)  # a random model writes no answer, and none is made up
