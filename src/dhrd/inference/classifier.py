"""The trained classifier: from text to labels and probabilities in one forward pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from torch import Tensor, nn

from dhrd._device import check_loaded, find_device
from dhrd._loading import no_foreign_bars
from dhrd.artifact.hub import find_artifact, push_artifact
from dhrd.artifact.info import ArtifactInfo, check_has_classifier, read_info
from dhrd.artifact.read import input_encoder, load_input_encoder
from dhrd.artifact.weights import load_body_and_head
from dhrd.data.inputs import EncodedInput
from dhrd.data.objects import as_rows, columns_of, is_one
from dhrd.data.records import Batch, LabelSet
from dhrd.errors import ArtifactError
from dhrd.inference.cascade import Cascade
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoding
from dhrd.inference.engine.batching import label_probabilities
from dhrd.inference.engine.engine import Engine
from dhrd.inference.engine.options import Options
from dhrd.inference.explanation import Explanation, explanations_of
from dhrd.inference.prediction import Answer, Prediction, Row, Rows, predictions_of
from dhrd.inference.streaming import Scored, encoded_windows
from dhrd.model.memory import keep_freed_memory
from dhrd.model.packed import pack_linear_layers
from dhrd.model.pooling import last_hidden_states, pool

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_WINDOW_ROWS = 2048


class Classifier:
    """A trained classifier. Thread-safe; the model itself runs for one thread at a time.

    A classifier loaded from a directory is pickled and copied as that directory and the options, and loaded again from
    there.

    Example:
        ```python
        classifier = Classifier.from_pretrained("output")
        classifier.predict(["The parcel never arrived."])          # ["refund"]
        classifier.predict_proba(["The parcel never arrived."])    # array of shape (1, C)
        ```

    Args:
        body: The backbone without LM head.
        head: Maps pooled hidden states to logits.
        tokenizer: The artifact's tokenizer.
        info: The artifact's `dhrd.json`.
        options: Options of the engine; None: defaults for the device.
        strict: Reject rows longer than `max_input_tokens` instead of truncating them.
        cascade: Decoding options of the reasoning head, which answers rows on which the classifier is unsure; None: no
            cascade.
        threshold: Rows with a lower confidence are passed to the reasoning head (0: none, 1: all); None: those on which
            the artifact's decision abstains.
        directory: The artifact's directory, from which the reasoning head is loaded.

    Attributes:
        engine: The engine; its `work` counts tokens, padding and what sharing saved.
        num_cut: Number of rows truncated so far.
        num_mended: Number of rows so far that ended in the padding token and got a newline appended.
    """

    def __init__(
        self,
        body: PreTrainedModel,
        head: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        info: ArtifactInfo,
        *,
        options: Options | None = None,
        strict: bool = False,
        cascade: Decoding | None = None,
        threshold: float | None = None,
        directory: Path | None = None,
    ) -> None:
        self.body, self.head = body.eval(), head.eval()
        self.tokenizer, self.info, self.directory = tokenizer, info, directory
        self.encoder = input_encoder(tokenizer, info, strict=strict)
        self.engine = Engine(body, head, pooling=info.pooling, pad_token_id=tokenizer.pad_token_id, options=options)
        self.cascade, self.threshold = cascade, threshold
        self._cascade = Cascade(info, self.reasoner, cascade, threshold) if cascade is not None else None
        if cascade is not None and threshold is not None:
            self.info = info.without_rules()  # replaced by the threshold
        self._reasoner: Reasoner | None = None
        self._lock = threading.RLock()  # guards the model and the counts
        self._load_again: Callable[[], Classifier] | None = None
        self.num_cut = self.num_mended = 0

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        *,
        revision: str | None = None,
        device: str | int | torch.device | None = None,
        dtype: str | torch.dtype | None = "auto",
        max_tokens_per_pass: int | None = None,
        share_prefixes: bool = True,
        keep_prefixes: bool = True,
        compile: bool = False,
        keep_memory: bool = True,
        strict: bool = False,
        cascade: Decoding | None = None,
        threshold: float | None = None,
    ) -> Classifier:
        """Load an artifact.

        Args:
            directory: A directory written by `dhrd train`, or a name on the hub, `org/name`, given as a string.
            revision: Branch, tag or commit on the hub; None: the default branch.
            device: A device; None: a GPU if there is one; -1: the CPU.
            dtype: Data type of the backbone; the head is always in fp32. "auto": bf16 where the device multiplies it
                faster (GPUs; CPUs as measured once per process), else fp32. None: as saved.
            max_tokens_per_pass: Maximum tokens of a forward pass, padding included, which bounds its memory; None: a
                default for the device.
            share_prefixes: Compute prefixes shared by several rows only once, where that is cheaper. In fp32 the
                results are the same up to rounding.
            keep_prefixes: Reuse shared prefixes across windows and calls; rounding then depends on earlier calls.
            compile: Use `torch.compile` on the layers: some seconds before the first row, then faster.
            keep_memory: On a CPU, keep memory freed by a forward pass for the next one; at least a fifth faster.
            strict: Reject rows longer than the artifact's `max_input_tokens` instead of truncating them.
            cascade: Decoding options of the reasoning head, which answers rows on which the classifier is unsure;
                None: no cascade.
            threshold: Rows with a lower confidence are passed to the reasoning head; None: those on which the
                artifact's decision abstains.

        Raises:
            ArtifactError: The directory is not a finished artifact, has no classifier, or is damaged.
            ConfigError: The device is not available, the dtype is unknown, the layers cannot be compiled, the cascade
                has no threshold or no trained reasoning head, or a number is invalid.
        """
        directory = find_artifact(directory, revision)
        info = read_info(directory)
        check_has_classifier(directory, info)
        again = partial(
            cls.from_pretrained, directory.absolute(), device=device, dtype=dtype, compile=compile, strict=strict,
            max_tokens_per_pass=max_tokens_per_pass, share_prefixes=share_prefixes,
            keep_prefixes=keep_prefixes, keep_memory=keep_memory,
            cascade=cascade, threshold=threshold,
        )  # fmt: skip
        device = find_device(device)
        best = Options.best(device, max_tokens_per_pass, share_prefixes=share_prefixes, keep_prefixes=keep_prefixes)
        with no_foreign_bars():
            body, head = load_body_and_head(directory, info, dtype, device)
            tokenizer = load_input_encoder(directory, info).tokenizer
        check_loaded(body, directory)
        classifier = cls(
            body.to(device), head.to(device), tokenizer, info, options=best, strict=strict,
            cascade=cascade, threshold=threshold, directory=directory,
        )  # fmt: skip
        classifier._load_again = again
        if keep_memory and device.type == "cpu":
            keep_freed_memory()
        if compile:
            classifier.engine.compile()
        else:
            pack_linear_layers(body)
        return classifier

    def push_to_hub(self, repository: str, *, private: bool = False, message: str | None = None) -> str:
        """Upload the artifact that the classifier was loaded from; see `artifact.hub.push_artifact`."""
        return push_artifact(self._artifact("the artifact"), repository, private=private, message=message)

    @property
    def labels(self) -> LabelSet:
        """The label set, in the order of the probabilities' columns."""
        return self.info.labels

    @property
    def device(self) -> torch.device:
        """The device on which the model runs."""
        return self.body.device

    @property
    def dtype(self) -> torch.dtype:
        """The data type of the backbone."""
        return self.body.dtype

    @property
    def num_asked(self) -> int:
        """Number of rows that the cascade has passed to the reasoning head so far."""
        return self._cascade.num_asked if self._cascade is not None else 0

    def logits(self, batch: Batch) -> Tensor:
        """Class logits of a batch, (B, C), computed as in training: padded, masked, without prefix sharing."""
        return self.head(pool(last_hidden_states(self.body, batch), batch, self.info.pooling))

    def predict(self, rows: Rows) -> list[Answer]:
        """Predict a label per row: for multi-label those with p ≥ 0.5, for several tasks a dict, None if abstained.

        Args:
            rows: Texts, dicts with the template's columns, or `Example`s; a single one is treated as a list of one.
                Tables (a DataFrame, a `datasets.Dataset`, a pyarrow table, a dict of lists) are read row by row.

        Raises:
            DataError: A row is not text, is empty, lacks a column of the template, or (`strict`) is too long.
        """
        return [prediction.label for prediction in self.stream(rows)]  # type: ignore[misc]

    def predict_proba(self, rows: Rows) -> np.ndarray:
        """Probabilities of the classification head, (rows, C), in the order of `labels.names`; the cascade is not used.

        Raises:
            DataError: See `predict`.
        """
        return np.concatenate([np.empty((0, len(self.labels))), *(part.probabilities_BC for part in self.scored(rows))])

    def predict_proba_encoded(self, inputs: Sequence[EncodedInput]) -> np.ndarray:
        """Probabilities of already encoded inputs, (rows, C)."""
        if not inputs:
            return np.empty((0, len(self.labels)))
        with self._lock:
            logits = self.engine.logits([item.input_ids for item in inputs]).numpy()
        if not np.isfinite(logits).all():
            raise ArtifactError("the classifier returns NaN or infinite logits: its weights are damaged; train again")
        return label_probabilities(logits, self.labels)

    def stream(self, rows: Rows, *, window: int = _WINDOW_ROWS) -> Iterator[Prediction]:
        """Yield predictions of any number of rows, in order, in constant memory.

        The next window of rows is read and tokenised while the model runs on the current one.

        Args:
            rows: As for `predict`, or an iterator.
            window: Number of rows within which batches are formed by length and shared text is found; fewer if rows are
                large. At most two windows are read ahead of the predictions.

        Raises:
            DataError: See `predict`, or the source failed; predictions of the rows before it were yielded.
            ConfigError: `window` is not a positive integer.
        """
        for part in self.scored(rows, window=window):
            yield from self.predictions(part)

    def scored(self, rows: Rows, *, window: int = _WINDOW_ROWS, skip: bool = False) -> Iterator[Scored]:
        """Yield windows of rows with tokens and probabilities; see `stream`. With `skip`, bad rows are skipped."""
        for found in encoded_windows(as_rows(rows), self.encode, window, skip=skip):
            with self._lock:
                self.num_cut += sum(item.was_cut for item in found.inputs)
                self.num_mended += sum(item.was_mended for item in found.inputs)
            probabilities_BC = self.predict_proba_encoded(found.inputs)
            yield Scored(found.rows, found.inputs, probabilities_BC, found.refused, found.is_whole)
            if found.failure is not None:
                raise found.failure

    @overload
    def explain(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self, rows: Row, *, max_new_tokens: int = 500
    ) -> Explanation:
        """Explain one row."""

    @overload
    def explain(self, rows: Sequence[Row], *, max_new_tokens: int = 500) -> list[Explanation]:
        """Explain several rows."""

    def explain(self, rows: Rows, *, max_new_tokens: int = 500) -> Explanation | list[Explanation]:
        """Let the reasoning head write rationales: illustrations of what the model learned to write.

        A rationale is not the cause of the label, which comes from the classification head alone and would be the same
        without it. It takes one forward pass per token of the longest rationale, where a label takes one in total. The
        first call loads the reasoning model from the artifact's directory onto the classifier's device.

        Args:
            rows: Texts, dicts with the template's columns, or `Example`s; a single one returns a single `Explanation`.
            max_new_tokens: Maximum tokens of rationale and answer.

        Raises:
            ArtifactError: As `reasoner`.
            DataError: As `predict`.
            ConfigError: A row and `max_new_tokens` are over the model's context, or the latter is no number of tokens.
        """
        items = list(as_rows(rows))
        decoding = Decoding(max_new_tokens=max_new_tokens)
        if not items:
            return []
        inputs = self.encode(items)
        decoded = self.reasoner().decode(inputs, decoding)
        probabilities_BC = self.predict_proba_encoded(inputs)
        predictions = predictions_of(items, (item.text for item in inputs), probabilities_BC, self.info)
        explanations = explanations_of(inputs, decoded, [one.label for one in predictions])
        return explanations[0] if is_one(rows) else explanations

    def reasoner(self) -> Reasoner:
        """The artifact's reasoning head, loaded on first use, with the classifier's dtype and device.

        Raises:
            ArtifactError: The classifier was not loaded from a directory, or its reasoning head was not trained.
        """
        directory = self._artifact("the reasoning head")
        if not self.info.reasons:
            raise ArtifactError(
                f"{directory}: trained with loss.reasoning_weight: 0, so its reasoning head learned nothing and "
                "explains nothing; give a model that was trained with rationales"
            )
        with self._lock:
            if self._reasoner is None:
                self._reasoner = Reasoner.from_pretrained(directory, device=self.device, dtype=self.body.dtype)
            return self._reasoner

    def _artifact(self, wanted: str) -> Path:
        if self.directory is None:
            use = "use Classifier.from_pretrained(DIR)"
            raise ArtifactError(f"the classifier was not loaded from a directory that contains {wanted}: {use}")
        return self.directory

    def __reduce__(self) -> tuple[Callable[[], Classifier], tuple[()]]:
        """Support pickle and copy by loading again."""
        if self._load_again is None:
            raise ArtifactError(
                "a classifier that was not loaded from a directory cannot be copied or sent to another process: "
                "call Classifier.from_pretrained(DIR) there"
            )
        return self._load_again, ()

    def predictions(self, part: Scored) -> list[Prediction]:
        """Predictions for scored rows; the cascade decides those on which the classifier is unsure."""
        predictions = predictions_of(part.rows, (i.text for i in part.inputs), part.probabilities_BC, self.info)
        return self._cascade.decide(predictions, part) if self._cascade is not None else predictions

    def encode(self, rows: Sequence[Row], first: int = 0) -> list[EncodedInput]:
        """Encode rows with the artifact's template and limits; errors number the rows from `first`."""
        read = self.encoder.template, self.info.columns
        return self.encoder.encode([columns_of(row, f"row {first + i}", *read) for i, row in enumerate(rows)])
