"""Decoding in batches: greedy tokens are those of a full pass for each new token."""

from __future__ import annotations

import pytest
import torch

from dhrd.data.collate import collate
from dhrd.data.records import EncodedExample
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.generation import generate
from helpers.models import FAMILIES, make_model, rows

NUM_NEW = 6


def one_by_one(model: DualHeadModel, prompt: list[int]) -> list[int]:
    """Each new token from a pass of its own over all that is there, as in training."""
    new: list[int] = []
    head, transform = model.causal_lm.get_output_embeddings(), model._transform
    for _ in range(NUM_NEW):
        row = EncodedExample(id="", input_ids=prompt, continuation_ids=new, label=())
        batch = collate([row], pad_token_id=0, num_labels=1)
        logits = transform(head(model.hidden_states(batch)[0, -1]))
        new.append(int(logits.argmax()))
        if new[-1] == model.tokenizer.eos_token_id:
            return new[:-1]
    return new


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_those_of_full_passes(family: str) -> None:
    model = make_model(family).eval()
    model.causal_lm.generation_config.eos_token_id = None
    prompts = [row.input_ids for row in rows(5)]
    assert len({len(prompt) for prompt in prompts}) > 2 and min(map(len, prompts)) < 5
    with torch.no_grad():
        expected = [one_by_one(model, prompt) for prompt in prompts]
    decoded = generate(
        model.causal_lm,
        model.tokenizer,
        prompts,
        max_new_tokens=NUM_NEW,
        batch_size=3,
    )
    assert decoded == expected


def test_rows_that_end_early_leave_the_others_as_they_are() -> None:
    """More steps than one call decodes, and a row that a rule ends between two calls."""
    model = make_model("llama").eval()
    model.causal_lm.generation_config.eos_token_id = None
    prompts = [row.input_ids for row in rows(3)]
    options = {"max_new_tokens": 40}
    whole = generate(model.causal_lm, model.tokenizer, prompts, **options)
    ended = generate(model.causal_lm, model.tokenizer, prompts, stop=lambda new: new == whole[0][:5], **options)
    assert ended[0] == whole[0][:5]
    assert ended[1:] == whole[1:] and max(map(len, whole)) > 16


def sampled(seed: int | list[int] = 0, *, batch_size: int = 16, only: slice = slice(None)) -> list[list[int]]:
    model = make_model("llama").eval()
    model.causal_lm.generation_config.eos_token_id = None
    prompts = [row.input_ids for row in rows(5)][only]
    options = {"temperature": 1.5, "top_p": 0.95, "max_new_tokens": 20}
    return generate(model.causal_lm, model.tokenizer, prompts, seed=seed, batch_size=batch_size, **options)


def test_what_is_drawn_for_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    together = sampled()
    assert sampled(batch_size=2) == together
    assert sampled(only=slice(3, None)) == together[3:]
    assert len({tuple(new) for new in together}) == 5


def test_each_row_can_have_its_own_seed() -> None:
    first, second = sampled(0), sampled(1)
    assert all(one != other for one, other in zip(first, second, strict=True))
    assert sampled([0, 1, 0, 1, 0]) == [first[0], second[1], first[2], second[3], first[4]]


def test_rows_that_end_early_leave_the_others_their_random_numbers() -> None:
    whole = sampled()
    model = make_model("llama").eval()
    model.causal_lm.generation_config.eos_token_id = None
    prompts = [row.input_ids for row in rows(5)]
    options = {"temperature": 1.5, "top_p": 0.95, "max_new_tokens": 40}
    ended = generate(model.causal_lm, model.tokenizer, prompts, stop=lambda new: new == whole[0][:5], **options)
    assert ended[0] == whole[0][:5]
    assert [new[:20] for new in ended[1:]] == whole[1:]


def test_the_global_random_state_is_left_as_it_is() -> None:
    before = torch.get_rng_state()
    sampled()
    assert torch.equal(torch.get_rng_state(), before)
