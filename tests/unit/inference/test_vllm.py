"""What is asked of vLLM and read from it, with a stand-in for the engine: it runs on few machines."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from dhrd.data.records import LabelSet
from dhrd.data.sequence import EncodedInput
from dhrd.errors import ConfigError, DhrdError
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.inference.vllm import VllmDecoder, check_vllm, start_vllm
from helpers.models import make_causal_lm
from helpers.rows import make_tokenizer

LABELS = LabelSet(("true", "false"), ("yes", "not so"))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Answers every prompt alike, and keeps what it was started and asked with."""
    seen = SimpleNamespace(started={}, prompts=[], sampling={})

    class LLM:
        def __init__(self, directory: str, **options: Any) -> None:
            if options.get("max_model_len") == 1:
                raise ValueError("too short\nmuch more")
            seen.started = options

        def generate(self, prompts: Any, sampling: Any, **_: Any) -> Any:
            seen.prompts, seen.sampling = prompts, sampling
            answer = SimpleNamespace(text="It does.\nAnswer: yes", token_ids=[1, 2, 3])
            return [SimpleNamespace(outputs=[answer]) for _ in prompts]

    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    return seen


def test_prompts_and_sampling_are_those_of_decoding(engine: SimpleNamespace) -> None:
    tokenizer = make_tokenizer()
    decoder = VllmDecoder(make_causal_lm("llama"), tokenizer, LABELS, max_input_tokens=40, max_new_tokens=8)
    assert engine.started["max_model_len"] == 40 + 16 + 8
    assert engine.started["dtype"] == "float32"
    decoding = Decoding(max_new_tokens=8, temperature=0.1, top_p=0.7, seed=3)
    decoded = decoder.decode([EncodedInput("", [5, 6]), EncodedInput("", [7])], decoding)
    assert decoded == [Decoded("It does.", "true", 3)] * 2
    marker = tokenizer("\n\nReasoning:", add_special_tokens=False)["input_ids"]
    assert [prompt["prompt_token_ids"] for prompt in engine.prompts] == [[5, 6, *marker], [7, *marker]]
    assert engine.sampling == {
        "max_tokens": 8, "temperature": 0.1, "top_p": 0.7, "seed": 3, "skip_special_tokens": True,
    }  # fmt: skip


def test_an_engine_that_does_not_start_is_one_line(engine: SimpleNamespace) -> None:
    with pytest.raises(DhrdError, match=r"^vLLM did not start, its own messages say why \(too short\)$"):
        start_vllm("nowhere", torch.device("cpu"), max_model_len=1)


def test_where_it_is_not_installed_who_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^against cot_vllm: this needs vLLM: pip install vllm"):
        check_vllm("against cot_vllm")
