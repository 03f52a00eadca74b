"""What is asked of vLLM and read from it, with a stand-in for the engine: it runs on few machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from dhrd.data.inputs import EncodedInput
from dhrd.data.records import LabelSet
from dhrd.errors import DhrdError
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.inference.vllm import VllmDecoder, awake, start_vllm
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


def test_it_gets_the_cores_of_torch(engine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself it keeps one free."""
    for name in ("VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 1, 2})
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    start_vllm("model", torch.device("cpu"))
    assert (os.environ["VLLM_CPU_OMP_THREADS_BIND"], os.environ["OMP_NUM_THREADS"]) == ("1,2", "2")
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    start_vllm("model", torch.device("cpu"))
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "1,2"  # what is set already stays


def wait_for(process: subprocess.Popen[bytes], status: str) -> None:
    """Until the process has it: one that has just been started or resumed runs for a moment."""
    deadline_s = time.monotonic() + 30
    while (now := psutil.Process(process.pid).status()) != status:
        assert time.monotonic() < deadline_s, f"{now}, not {status}"
        time.sleep(0.01)


def test_its_processes_stand_still_between(tmp_path: Path) -> None:
    """And no others."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    (tmp_path / "vllm-worker").symlink_to(sleep)
    with (
        subprocess.Popen([tmp_path / "vllm-worker", "60"]) as theirs,
        subprocess.Popen([sleep, "60"]) as other,
    ):
        try:
            with awake():
                wait_for(theirs, psutil.STATUS_SLEEPING)
            wait_for(theirs, psutil.STATUS_STOPPED)
            wait_for(other, psutil.STATUS_SLEEPING)
            with awake():
                wait_for(theirs, psutil.STATUS_SLEEPING)
        finally:
            theirs.kill()
            other.kill()


def test_an_engine_that_does_not_start_is_one_line(engine: SimpleNamespace) -> None:
    with pytest.raises(DhrdError, match=r"^vLLM did not start; see its messages \(too short\)$"):
        start_vllm("nowhere", torch.device("cpu"), max_model_len=1)
