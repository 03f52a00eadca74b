"""Chain-of-thought decoding on the same rows: what a label costs when the reasoning head has to write its way to it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhrd.artifact.read import load_reasoning_model
from dhrd.benchmark.contenders import BenchmarkRows
from dhrd.benchmark.measure import timed
from dhrd.benchmark.result import DecodingResult
from dhrd.config import ModelSettings
from dhrd.data.sequence import EncodedInput
from dhrd.errors import ConfigError
from dhrd.inference.classifier import Classifier
from dhrd.inference.cot import Decoded, check_answers, decode
from dhrd.inference.vllm import VllmDecoder, check_vllm
from dhrd.metrics.intervals import wilson
from dhrd.model.backbone import load_backbone

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SIZES = (1, 4, 16)
_MARKER_TOKENS = 16  # room for the marker between input and rationale

Decode = Callable[[Sequence[EncodedInput], int], list[Decoded]]


def check_decoding(ways: Sequence[str], classifier: Classifier) -> None:
    """Refuse before anything is run what cannot be.

    Raises:
        ConfigError: vLLM is not installed, or the backbone's name is not known.
    """
    if any(way in ("cot", "cot_vllm") for way in ways):
        check_answers(classifier.info.sequence)
    if "cot_vllm" in ways:
        check_vllm("`against=cot_vllm`")
    if "cot_untuned" in ways and not classifier.info.training.get("backbone"):
        raise ConfigError("`against=cot_untuned`: dhrd.json does not name the backbone; leave it out")


def measure_decoding(
    directory: Path, classifier: Classifier, rows: BenchmarkRows, ways: Sequence[str], *, max_new_tokens: int
) -> dict[str, DecodingResult]:
    """One pass over the rows for each way and batch size, after a warm-up of a few tokens.

    Args:
        directory: The artifact.
        classifier: Its dtype, device, labels and tokenizer are used.
        rows: Few: each takes up to `max_new_tokens` steps.
        ways: Of `cot` (the artifact's reasoning head, greedy), `cot_untuned` (its backbone before training, sampled as
            in the paper: temperature 0.1, top-p 0.7) and `cot_vllm` (the reasoning head in vLLM).
        max_new_tokens: The paper: 500.

    Returns:
        By way and batch size.
    """
    inputs = [EncodedInput(text, ids) for text, ids in zip(rows.texts, rows.input_ids, strict=True)]
    results = {}
    for way in ways:
        for name, run in _ways(way, directory, classifier, max(map(len, rows.input_ids)) + max_new_tokens):
            run(inputs[:1], min(4, max_new_tokens))
            taken_s, decoded = timed(run, inputs, max_new_tokens)
            results[name] = _result(_TITLES[way], decoded, rows, taken_s)
    return results


_TITLES = {
    "cot": "chain of thought, trained reasoning head, greedy",
    "cot_untuned": "chain of thought, untuned backbone, temperature 0.1, top-p 0.7",
    "cot_vllm": "chain of thought, trained reasoning head in vLLM, greedy",
}
WAYS = tuple(_TITLES)


def _ways(way: str, directory: Path, classifier: Classifier, longest: int) -> Iterator[tuple[str, Decode]]:
    labels, template, tokenizer = classifier.labels, classifier.info.sequence, classifier.tokenizer
    if way == "cot_vllm":
        model = load_reasoning_model(directory).to(dtype=classifier.dtype)
        engine = VllmDecoder(model, tokenizer, max_model_len=longest + _MARKER_TOKENS, template=template)
        greedy: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "seed": 0}
        yield way, lambda some, most: engine.decode(some, labels, max_new_tokens=most, **greedy)
        return
    model = _model(way, directory, classifier)
    sampling = {"temperature": 0.1, "top_p": 0.7} if way == "cot_untuned" else {}
    for size in BATCH_SIZES:

        def run(some: Sequence[EncodedInput], most: int, size: int = size) -> list[Decoded]:
            options: dict[str, Any] = {"template": template, "max_new_tokens": most, "batch_size": size, **sampling}
            return decode(model, tokenizer, some, labels, **options)

        yield f"{way}_{size}", run


def _model(way: str, directory: Path, classifier: Classifier) -> PreTrainedModel:
    if way == "cot":
        model = load_reasoning_model(directory)
    else:
        name = classifier.info.training.get("backbone")
        assert name is not None  # refused before
        model = load_backbone(ModelSettings(name_or_path=name)).model
    return model.eval().to(device=classifier.device, dtype=classifier.dtype)


def _result(title: str, decoded: Sequence[Decoded], rows: BenchmarkRows, taken_s: float) -> DecodingResult:
    result = DecodingResult(
        title=title,
        queries_per_second=len(decoded) / taken_s,
        tokens_per_second=sum(answer.num_tokens for answer in decoded) / taken_s,
        mean_new_tokens=statistics.fmean(answer.num_tokens for answer in decoded),
        unparsable_share=statistics.fmean(answer.label is None for answer in decoded),
        accuracy=None,
        num_rows=len(decoded),
    )
    if rows.gold is None:
        return result
    right = sum(answer.label == gold for answer, gold in zip(decoded, rows.gold, strict=True))
    accuracy = {"accuracy": right / len(decoded), "accuracy_interval_95": wilson(right, len(decoded))}
    return result.model_copy(update=accuracy)
