"""Ways to run a trained classifier, each from text to label: ours, and what a user would run instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dhrd.artifact.read import load_stock_config
from dhrd.artifact.weights import load_stock_model
from dhrd.data.records import Example
from dhrd.errors import ArtifactError
from dhrd.export.runtimes import RUNTIMES, find_runtime
from dhrd.inference.classifier import Classifier
from dhrd.inference.engine.batching import predict_logits
from dhrd.inference.vllm import awake, start_vllm
from dhrd.model.foreign import Weights
from dhrd.model.precision import dtype_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOOP_BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class BenchmarkRows:
    """The rows of a benchmark.

    Args:
        examples: The rows, as input for our classifier.
        texts: The rows rendered by the artifact's input template and cut to its limit, as input for the others.
        input_ids: The rows as tokens.
        gold: The gold labels, if all are known.
    """

    examples: Sequence[Example]
    texts: Sequence[str]
    input_ids: Sequence[list[int]]
    gold: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def part(self, start: int, end: int) -> BenchmarkRows:
        """Rows from `start` to before `end`."""
        gold = self.gold[start:end] if self.gold is not None else None
        return BenchmarkRows(self.examples[start:end], self.texts[start:end], self.input_ids[start:end], gold)

    @property
    def num_tokens(self) -> int:
        """Number of tokens of all rows."""
        return sum(map(len, self.input_ids))


Run = Callable[[BenchmarkRows], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to run the classifier.

    Args:
        name: Its key in the result.
        title: Its description.
        dtype: The dtype of the weights.
        run: Maps rows to the most probable label of each.
        batch_size: Rows per batch, if it has a fixed number.
        in_process: Whether it runs in this process, so that its memory can be measured.
    """

    name: str
    title: str
    dtype: str
    run: Run
    batch_size: int | None = None
    in_process: bool = True


@dataclass(frozen=True)
class Lineup:
    """What contenders are created from.

    Args:
        directory: The artifact.
        classifier: The classifier loaded from it; all contenders use its dtype, device, labels and tokenizer.
        batch_sizes: Batch sizes of the pipeline.
        exports: Runtime -> a directory that `dhrd export` wrote for it.
    """

    directory: Path
    classifier: Classifier
    batch_sizes: Sequence[int] = ()
    exports: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def stock(self) -> PreTrainedModel:
        """The artifact as transformers loads it, in the classifier's dtype; one for all who use it."""
        return stock_model(self.directory, self.classifier, self.classifier.dtype)


def ours(classifier: Classifier, name: str = "dhrd", title: str = "dhrd.Classifier") -> Contender:
    """`dhrd.Classifier`, from raw rows."""
    names = classifier.labels.names

    def run(rows: BenchmarkRows) -> list[str]:
        return [names[index] for index in classifier.predict_proba(rows.examples).argmax(1)]

    return Contender(name=name, title=title, dtype=dtype_name(classifier.dtype), run=run)


def stock_model(directory: Path, classifier: Classifier, dtype: torch.dtype) -> PreTrainedModel:
    """The artifact as transformers loads it.

    Raises:
        ArtifactError: It has no stock head.
    """
    if classifier.info.kind != "sequence_classifier":
        raise ArtifactError(
            f"{directory}: an mlp head or mean pooling, which transformers and vLLM do not load; "
            "leave pipeline, loop and vllm out of `against`"
        )
    weights = Weights.of(directory)
    loaded, _ = load_stock_model(directory, load_stock_config(directory, weights, classifier.info), weights, dtype)
    return loaded.eval().to(classifier.device)


def pipeline(model: PreTrainedModel, classifier: Classifier, batch_size: int) -> Contender:
    """`transformers.pipeline("text-classification")`."""
    from transformers import pipeline as make

    pipe = make("text-classification", model=model, tokenizer=classifier.tokenizer, device=classifier.device)
    limit = {"truncation": True, "max_length": classifier.info.max_input_tokens}

    def run(rows: BenchmarkRows) -> list[str]:
        return [answer["label"] for answer in pipe(list(rows.texts), batch_size=batch_size, **limit)]

    return Contender(
        name=f"pipeline_{batch_size}",
        title=f"transformers pipeline, batch {batch_size}",
        dtype=dtype_name(model.dtype),
        run=run,
        batch_size=batch_size,
    )


def pipelines(lineup: Lineup) -> Iterator[Contender]:
    """The pipeline at each batch size, and with its default."""
    for size in lineup.batch_sizes:
        yield pipeline(lineup.stock, lineup.classifier, size)
    whole = stock_model(lineup.directory, lineup.classifier, torch.float32)
    title = "transformers pipeline as it comes: batch 1, fp32"
    yield replace(pipeline(whole, lineup.classifier, 1), name="pipeline_default", title=title)


def loop(lineup: Lineup) -> Iterator[Contender]:
    """A bare loop over batches in the rows' order: what people write."""
    model, classifier = lineup.stock, lineup.classifier
    tokenizer, names = classifier.tokenizer, classifier.labels.names

    def answer(texts: list[str]) -> list[str]:
        batch = tokenizer(
            texts, padding=True, truncation=True, max_length=classifier.info.max_input_tokens, return_tensors="pt"
        ).to(model.device)
        with torch.inference_mode():
            return [names[index] for index in model(**batch).logits.argmax(-1).tolist()]

    def run(rows: BenchmarkRows) -> list[str]:
        starts = range(0, len(rows), LOOP_BATCH_SIZE)
        return [label for start in starts for label in answer(list(rows.texts[start : start + LOOP_BATCH_SIZE]))]

    title = f"AutoModelForSequenceClassification loop, batch {LOOP_BATCH_SIZE}"
    dtype = dtype_name(model.dtype)
    yield Contender(name="loop", title=title, dtype=dtype, run=run, batch_size=LOOP_BATCH_SIZE)


def vllm(lineup: Lineup) -> Iterator[Contender]:
    """vLLM's pooling runner on our tokenizer's tokens, so that both truncate in the same way."""
    classifier = lineup.classifier
    dtype = dtype_name(classifier.dtype)
    limit = classifier.info.max_input_tokens
    engine = start_vllm(lineup.directory, classifier.device, runner="pooling", dtype=dtype, max_model_len=limit)
    names = classifier.labels.names

    def run(rows: BenchmarkRows) -> list[str]:
        with awake():
            outputs: Any = engine.classify([{"prompt_token_ids": ids} for ids in rows.input_ids], use_tqdm=False)
        return [names[max(range(len(names)), key=answer.outputs.probs.__getitem__)] for answer in outputs]

    yield Contender(name="vllm", title="vLLM, pooling", dtype=dtype, run=run, in_process=False)


def exported(name: str, lineup: Lineup) -> Iterator[Contender]:
    """A runtime with a model that `dhrd export` wrote, in batches of similar length."""
    classifier, runtime = lineup.classifier, find_runtime(name)
    forward, names = runtime.from_pretrained(lineup.exports[name]), classifier.labels.names

    def run(rows: BenchmarkRows) -> list[str]:
        inputs = classifier.encoder.encode([(example.columns(), example.where) for example in rows.examples])
        logits = predict_logits(
            forward,
            [item.input_ids for item in inputs],
            pad_token_id=classifier.tokenizer.pad_token_id,
            batch_size=LOOP_BATCH_SIZE,
        )
        return [names[index] for index in logits.argmax(1)]

    title = f"{runtime.title}, {forward.dtype}, batches of {LOOP_BATCH_SIZE} of like length"
    yield Contender(name=name, title=title, dtype=forward.dtype, run=run, batch_size=LOOP_BATCH_SIZE)


MAKERS: dict[str, Callable[[Lineup], Iterator[Contender]]] = {
    "pipeline": pipelines,
    "loop": loop,
    **{name: partial(exported, name) for name in RUNTIMES},
    "vllm": vllm,
}
"""Makers of `PEERS`, by name: each yields one contender or several."""


def without_sharing(classifier: Classifier) -> Classifier:
    """The same classifier without sharing: every row is run whole."""
    options = replace(classifier.engine.options, share_prefixes=False)
    return Classifier(classifier.body, classifier.head, classifier.tokenizer, classifier.info, options=options)
