"""Decoding: answers are read by the label words, batches do not matter, rows stop at eos and behind their answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from dhrd.data.inputs import EncodedInput
from dhrd.data.reading import HeadReader
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from dhrd.errors import ConfigError
from dhrd.inference import cot
from dhrd.inference.cot import TransformersDecoder, parse_answer
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.model.generation import generate
from helpers.models import FAMILIES, VOCAB_SIZE, make_causal_lm
from helpers.rows import make_folding_tokenizer, make_tokenizer

LABELS = LabelSet(("true", "false"), ("yes", "not so"))
TAGS = LabelSet(("mail", "bill", "login"), multi_label=True)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (" yes", "true"),
        (" Not so.", "false"),
        (" yes\nAnswer: not so", "true"),
        ("\n\n yes \n", "true"),
        (" yes, because it says so", None),
        (" yes and no", None),
        ("", None),
        ("\n", None),
    ],
)
def test_an_answer_is_one_of_the_words_or_nothing(answer: str, label: str | None) -> None:
    assert parse_answer(answer, HeadReader.of(LABELS, SequenceTemplate())) == label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (" bill, mail", ["mail", "bill"]),
        (" none\nand so on", []),
        (" login.", ["login"]),
        (" mail, post", None),
        ("", None),
    ],
)
def test_several_labels_are_a_list_and_none_of_them_is_an_answer(answer: str, label: list[str] | None) -> None:
    assert parse_answer(answer, HeadReader.of(TAGS, SequenceTemplate())) == label


PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16]]
MANY = [*PROMPTS, [20] * 9, [21, 22], [23, 24, 25, 26]]


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_decoding_is_one_by_one_decoding(family: str) -> None:
    assert len(FAMILIES) == 9
    model, tokenizer = make_causal_lm(family), make_tokenizer()
    together = generate(model, tokenizer, MANY, max_new_tokens=20, batch_size=4)
    apart = [generate(model, tokenizer, [prompt], max_new_tokens=20)[0] for prompt in MANY]
    assert together == apart
    assert max(map(len, together)) == 20  # more than one call of transformers


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_stop_early_change_nothing_for_the_others(family: str) -> None:
    """Rows leave the batch between calls of transformers, with their part of its cache."""
    model, tokenizer = make_causal_lm(family), make_tokenizer()
    whole = [generate(model, tokenizer, [prompt], max_new_tokens=36)[0] for prompt in MANY]
    ends = [min(length, len(new)) for new, length in zip(whole, (3, 17, 36, 33, 16, 30, 20), strict=True)]
    expected = [new[:end] for new, end in zip(whole, ends, strict=True)]
    found = generate(model, tokenizer, MANY, max_new_tokens=36, batch_size=4, stop=lambda new: new in expected)
    assert all(one == new[: len(one)] for one, new in zip(found, whole, strict=True))
    first = [min(n for n in range(1, len(new) + 1) if new[:n] in expected) for new in whole]
    assert list(map(len, found)) == first
    assert len(set(first)) > 3


def test_a_model_that_chooses_its_cache_is_decoded_in_one_call() -> None:
    model, tokenizer = make_causal_lm("llama"), make_tokenizer()
    expected = generate(model, tokenizer, PROMPTS, max_new_tokens=20)
    model.generation_config.cache_implementation = "static"
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=20) == expected


def test_sampling_is_decided_by_the_seed() -> None:
    model, tokenizer = make_causal_lm("llama"), make_tokenizer()
    options: dict[str, Any] = {"max_new_tokens": 20, "temperature": 1.0, "top_p": 0.9}
    first, again, other = (generate(model, tokenizer, PROMPTS, seed=seed, **options) for seed in (0, 0, 1))
    assert first == again != other


def test_decoding_stops_at_eos_and_leaves_it_out() -> None:
    model, tokenizer = make_causal_lm("llama", tie_word_embeddings=False), make_tokenizer()
    with torch.no_grad():  # whatever the state, one direction of it now votes for eos
        hidden = model.base_model(torch.tensor([PROMPTS[0]])).last_hidden_state[0, -1]
        model.lm_head.weight[tokenizer.eos_token_id] = 1000 * hidden
    assert generate(model, tokenizer, PROMPTS[:1], max_new_tokens=12) == [[]]


class Reciter(PreTrainedModel, GenerationMixin):
    """Writes given tokens after its prompt, whatever that is: the first token of the prompt tells which."""

    config_class = PretrainedConfig
    _supports_cache_class = True

    def __init__(self, scripts: Sequence[Sequence[int]], prompt_length: int) -> None:
        super().__init__(PretrainedConfig(vocab_size=VOCAB_SIZE, num_hidden_layers=1, hidden_size=1))
        self.unused = nn.Parameter(torch.zeros(1))
        self.scripts, self.prompt_length = scripts, prompt_length
        self.num_rows: list[int] = []

    def prepare_inputs_for_generation(  # the names are what transformers lets through
        self, input_ids: torch.Tensor, attention_mask: Any = None, past_key_values: Any = None, **_: Any
    ) -> dict[str, torch.Tensor]:
        return {"input_ids": input_ids}

    def forward(self, input_ids: torch.Tensor, **_: Any) -> CausalLMOutputWithPast:
        self.num_rows.append(len(input_ids))
        logits = torch.zeros(*input_ids.shape, VOCAB_SIZE)
        for row, ids in enumerate(input_ids.tolist()):
            script = self.scripts[ids[0]]
            logits[row, -1, script[min(len(ids) - self.prompt_length, len(script) - 1)]] = 1
        return CausalLMOutputWithPast(logits=logits)


TEXTS = [
    ("It says so.\nAnswer: yes\nAnswer: not so\n", Decoded("It says so.", "true", 0)),
    ("\nAnswer:\n\n not so \nand more", Decoded("", "false", 0)),
    ("One.\nTwo.\nAnswer: yes, I think\nAnswer: yes\n", Decoded("One.\nTwo.", None, 0)),
    ("No marker\nbut lines and Answer: yes\n", Decoded("No marker\nbut lines and Answer: yes", None, 0)),
    ("é ü\nAnswer: yes", Decoded("é ü", "true", 0)),
    ("\nAnswer:", Decoded("", None, 0)),
]


@pytest.mark.parametrize("pad", ["<pad>", "<eos>"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_stopping_at_the_answer_reads_what_decoding_to_the_end_reads(batch_size: int, pad: str) -> None:
    tokenizer = make_tokenizer(pad=pad)
    scripts = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text, _ in TEXTS]
    marker = tokenizer(SequenceTemplate().reason.rstrip(" "))["input_ids"]
    inputs = [EncodedInput("", [number]) for number in range(len(TEXTS))]
    decoding = Decoding(max_new_tokens=100, batch_size=batch_size)
    read = {}
    for stops in (False, True):
        model = Reciter(scripts, 1 + len(marker))
        found = TransformersDecoder(model, tokenizer, LABELS, stop_at_answer=stops).decode(inputs, decoding)
        assert [(one.rationale, one.label) for one in found] == [(e.rationale, e.label) for _, e in TEXTS] or stops
        read[stops] = found, sum(model.num_rows)
    (whole, cost), (stopped, less) = read[False], read[True]
    assert [one.label for one in whole] == [one.label for one in stopped]
    assert [one.rationale for one in whole] == [one.rationale for one in stopped]
    assert [one.num_tokens for one in whole] == [len(script) - 1 for script in scripts]
    shorter = [one.num_tokens < other.num_tokens for one, other in zip(stopped, whole, strict=True)]
    assert shorter == [True, True, True, False, False, False]
    assert less < cost


def test_an_answer_is_read_as_the_tokenizer_gives_it_back() -> None:
    tokenizer = make_folding_tokenizer("It says so. Answer: Reasoning: yes not")
    scripts = [
        [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        for text in ("It says so.\nAnswer: yes", "\nAnswer: Not so", "It says so.", "It is.\nAnswer: yes it is")
    ]
    marker = tokenizer(SequenceTemplate().reason)["input_ids"]
    model, inputs = Reciter(scripts, 1 + len(marker)), [EncodedInput("", [number]) for number in range(4)]
    found = TransformersDecoder(model, tokenizer, LABELS).decode(inputs, Decoding(max_new_tokens=20))
    assert [one.label for one in found] == ["true", "false", None, None]
    assert [one.rationale for one in found] == ["it says so .", "", "it says so .", "it ."]


def test_a_stopped_row_keeps_its_answer_whole() -> None:
    tokenizer = make_tokenizer()
    is_written = cot._answer_is_written(tokenizer, HeadReader.of(LABELS, SequenceTemplate(), tokenizer))
    ids = tokenizer("Line.\nAnswer: not so\nmore")["input_ids"]
    ends = [n for n in range(1, len(ids) + 1) if is_written(ids[:n])]
    assert [tokenizer.decode(ids[:n]) for n in ends] == ["Line.\nAnswer: not so\n"]


def test_rows_come_back_in_order_with_their_token_counts() -> None:
    model, tokenizer = make_causal_lm("llama"), make_tokenizer()
    inputs = [EncodedInput("", prompt) for prompt in PROMPTS]
    decoder = TransformersDecoder(model, tokenizer, LABELS)
    decoded = decoder.decode(inputs, Decoding(max_new_tokens=6, batch_size=2))
    assert len(decoded) == len(PROMPTS)
    assert all(0 <= row.num_tokens <= 6 for row in decoded)
    assert all(row.label is None for row in decoded)  # a random model writes no answer, and none is made up
    assert decoder.decode([], Decoding()) == []


def test_more_than_the_context_and_odd_sampling_are_refused() -> None:
    decoder = TransformersDecoder(make_causal_lm("gpt2"), make_tokenizer(), LABELS)
    with pytest.raises(ConfigError, match=r"exceeds the model's context \(256\): give `max_new_tokens` \d+ or less"):
        decoder.decode([EncodedInput("", [1] * 100)], Decoding(max_new_tokens=200))
    with pytest.raises(ConfigError, match="shorten the inputs"):
        decoder.decode([EncodedInput("", [1] * 300)], Decoding(max_new_tokens=1))
    for options in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(ConfigError, match="`top_p`"):
            Decoding(**options)  # type: ignore[arg-type]
