"""Decoding with vLLM, if installed: the fastest decoding available, for a fair comparison with chain of thought."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dhrd._text import message_of
from dhrd.data.inputs import EncodedInput
from dhrd.data.reading import HeadReader
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from dhrd.errors import DhrdError
from dhrd.inference.cot import encode_prompts, read_decoded
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.model.adapters import merged_state

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_MARKER_TOKENS = 16  # room for the marker between input and rationale


def start_vllm(directory: str | Path, device: torch.device, **options: Any) -> Any:
    """Start a vLLM engine beside already loaded models, on as many cores as they use.

    Args:
        directory: The model.
        device: The device of the other models; the engine takes half of its free memory.
        **options: Options of `vllm.LLM`.

    Raises:
        DhrdError: The engine did not start.
    """
    from vllm import LLM

    share = _share_of_memory(device)
    if device.type == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", _cores())
    try:
        return LLM(str(directory), gpu_memory_utilization=share, disable_log_stats=True, seed=0, **options)
    except (RuntimeError, ValueError) as error:
        raise DhrdError(f"vLLM did not start; see its messages ({message_of(error)})") from error


@contextmanager
def awake(server: int | None = None) -> Iterator[None]:
    """Wrap work for vLLM in a speed comparison: outside such blocks its processes are suspended.

    They wait for work by spinning, on the same cores on which the other contenders are measured.

    Args:
        server: The process that started them; None: this one.
    """
    import psutil  # comes with accelerate

    processes = [one for one in psutil.Process(server).children(recursive=True) if "vllm" in one.name().lower()]
    for process in processes:
        process.resume()
    try:
        yield
    finally:
        for process in processes:
            process.suspend()


class VllmDecoder:
    """A causal language model in a vLLM engine.

    Args:
        model: The model, which is saved to a temporary directory for vLLM to load.
        tokenizer: Its tokenizer.
        labels: The label set, whose words are used to parse the answer.
        max_input_tokens: Tokens of the longest input.
        max_new_tokens: Maximum tokens of rationale and answer.
        template: The sequence markers used in training.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: LabelSet,
        *,
        max_input_tokens: int,
        max_new_tokens: int,
        template: SequenceTemplate | None = None,
    ) -> None:
        self.labels, self.template = labels, template or SequenceTemplate()
        self._directory = tempfile.TemporaryDirectory()
        model.save_pretrained(self._directory.name, state_dict=merged_state(model))
        tokenizer.save_pretrained(self._directory.name)
        dtype = "float32" if model.dtype == torch.float32 else "auto"
        self.tokenizer = tokenizer
        longest = max_input_tokens + _MARKER_TOKENS + max_new_tokens
        self._engine = start_vllm(self._directory.name, model.device, dtype=dtype, max_model_len=longest)

    def decode(self, inputs: Sequence[EncodedInput], decoding: Decoding) -> list[Decoded]:
        """As `TransformersDecoder.decode`, for all rows at once; a row ends only at eos."""
        from vllm import SamplingParams

        sampling: Any = SamplingParams(
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=decoding.seed,
            skip_special_tokens=True,
        )
        prompts = [{"prompt_token_ids": ids} for ids in encode_prompts(self.tokenizer, inputs, self.template)]
        outputs = self._engine.generate(prompts, sampling, use_tqdm=False)
        texts = [(row.outputs[0].text, len(row.outputs[0].token_ids)) for row in outputs]
        reader = HeadReader.of(self.labels, self.template, self.tokenizer)
        return [read_decoded(text, length, reader) for text, length in texts]


def _cores() -> str:
    """The cores of torch's threads; by default vLLM keeps one core free, which makes it slow on two cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return ",".join(map(str, cores[: torch.get_num_threads()]))


def _share_of_memory(device: torch.device) -> float:
    """Half of the free memory as a share of all, as the trained model is in the same memory."""
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
    else:
        import psutil  # comes with accelerate

        memory = psutil.virtual_memory()
        free, whole = memory.available, memory.total
    return round(0.5 * free / whole, 2)
