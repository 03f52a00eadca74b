"""Chain-of-thought decoding on the same rows: the cost of a label that the reasoning head must reason its way to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhrd.artifact.read import load_reasoning_model
from dhrd.benchmark.contenders import BenchmarkRows
from dhrd.benchmark.result import DecodingResult
from dhrd.config import ModelSettings
from dhrd.data.inputs import EncodedInput
from dhrd.errors import ConfigError
from dhrd.inference.classifier import Classifier
from dhrd.inference.cot import TransformersDecoder
from dhrd.inference.decoding import Decoder, Decoding, TimedDecoding, timed_decoding
from dhrd.inference.vllm import VllmDecoder
from dhrd.metrics.intervals import wilson
from dhrd.model.backbone import load_backbone

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SIZES = (1, 4, 16)


def check_decoding(ways: Sequence[str], classifier: Classifier) -> None:
    """Refuse impossible requests before anything is run.

    Raises:
        ConfigError: The backbone's name is not known.
    """
    if "cot_untuned" in ways and not classifier.info.training.get("backbone"):
        raise ConfigError("`against=cot_untuned`: dhrd.json does not name the backbone; leave it out")


def measure_decoding(
    directory: Path, classifier: Classifier, rows: BenchmarkRows, ways: Sequence[str], *, max_new_tokens: int
) -> dict[str, DecodingResult]:
    """One pass over the rows for each way and batch size, after a warm-up of a few tokens.

    Args:
        directory: The artifact.
        classifier: Its dtype, device, labels and tokenizer are used.
        rows: The rows; only a few, as each takes up to `max_new_tokens` steps.
        ways: Any of `cot` (the artifact's reasoning head, greedy), `cot_untuned` (its backbone before training,
            sampled as in the paper: temperature 0.1, top-p 0.7) and `cot_vllm` (the reasoning head in vLLM).
        max_new_tokens: Maximum number of new tokens. The paper: 500.

    Returns:
        Results by way and batch size.
    """
    inputs = [EncodedInput(text, ids) for text, ids in zip(rows.texts, rows.input_ids, strict=True)]
    results = {}
    for way in ways:
        decoder = _decoder(way, directory, classifier, rows, max_new_tokens)
        sampled: dict[str, Any] = {"temperature": 0.1, "top_p": 0.7} if way == "cot_untuned" else {}
        for size in (None,) if way == "cot_vllm" else BATCH_SIZES:
            decoding = replace(Decoding(max_new_tokens=max_new_tokens, batch_size=size or 1), **sampled)
            decoder.decode(inputs[:1], replace(decoding, max_new_tokens=min(4, max_new_tokens)))
            timed = timed_decoding(decoder, inputs, decoding)
            results[f"{way}_{size}" if size else way] = _result(_TITLES[way], timed, rows)
    return results


_TITLES = {
    "cot": "chain of thought, trained reasoning head, greedy",
    "cot_untuned": "chain of thought, untuned backbone, temperature 0.1, top-p 0.7",
    "cot_vllm": "chain of thought, trained reasoning head in vLLM, greedy",
}


def _decoder(way: str, directory: Path, classifier: Classifier, rows: BenchmarkRows, max_new_tokens: int) -> Decoder:
    labels, template, tokenizer = classifier.labels, classifier.info.sequence, classifier.tokenizer
    model = (_untuned(classifier) if way == "cot_untuned" else load_reasoning_model(directory)).to(classifier.dtype)
    if way != "cot_vllm":
        return TransformersDecoder(model.eval().to(classifier.device), tokenizer, labels, template)
    return VllmDecoder(
        model,
        tokenizer,
        labels,
        max_input_tokens=max(map(len, rows.input_ids)),
        max_new_tokens=max_new_tokens,
        template=template,
    )


def _untuned(classifier: Classifier) -> PreTrainedModel:
    name = classifier.info.training.get("backbone")
    assert name is not None  # refused before
    return load_backbone(ModelSettings(name_or_path=name)).model


def _result(title: str, timed: TimedDecoding, rows: BenchmarkRows) -> DecodingResult:
    num_rows = len(timed.decoded)
    result = DecodingResult(
        title=title,
        queries_per_second=timed.queries_per_second,
        tokens_per_second=timed.tokens_per_second,
        mean_new_tokens=timed.mean_new_tokens,
        unparsable_share=timed.unparsable_share,
        accuracy=None,
        num_rows=num_rows,
    )
    if rows.gold is None:
        return result
    right = sum(answer.label == gold for answer, gold in zip(timed.decoded, rows.gold, strict=True))
    return result.model_copy(update={"accuracy": right / num_rows, "accuracy_interval_95": wilson(right, num_rows)})
