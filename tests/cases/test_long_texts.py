"""F14: a text of any length costs what its first tokens cost, and they are those of the whole text."""

from __future__ import annotations

import random

import pytest

from dhrd.data.tokens import TextTokenizer
from helpers_tokenizers import TOKENIZER_FAMILIES, family_tokenizer, odd_text


@pytest.mark.parametrize("family", TOKENIZER_FAMILIES)
def test_f14_first_tokens_are_those_of_the_whole_text(family: str) -> None:
    tokenizer = family_tokenizer(family)
    ours, draw = TextTokenizer(tokenizer), random.Random(f"texts {family}")
    texts = [odd_text(draw, draw.choice((0, 30, 300, 3000, 9000))) for _ in range(60)]
    for limit in (1, 3, 8, 40):
        found = ours.first(texts, limit)
        for text, first in zip(texts, found, strict=True):
            whole = tokenizer(text, verbose=False)["input_ids"]
            assert first.ids == tokenizer(text, truncation=True, max_length=limit)["input_ids"], text
            assert first.was_cut == (len(whole) > limit)
            assert first.num_tokens == len(whole) if first.was_read else limit < first.num_tokens <= len(whole)
    print(sum(not one.was_read for one in found))
