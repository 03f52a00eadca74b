"""The trained classifier: text in, labels and probabilities out, at the price of one forward pass."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy
import torch
from torch import Tensor, nn

from dhrd.data.records import Batch, Example, LabelSet
from dhrd.data.sequence import EncodedInput
from dhrd.errors import ArtifactError, DataError
from dhrd.inference.batching import predict_logits, probabilities
from dhrd.inference.cot import Reasoner
from dhrd.inference.loading import load_body_and_head
from dhrd.model.artifact import ArtifactInfo, input_encoder, load_input_encoder, read_info
from dhrd.model.device import check_device
from dhrd.model.pooling import last_hidden_states, pool

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger("dhrd")

Row = str | Mapping[str, Any] | Example


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier says of one row.

    Args:
        label: A label's name, or the list of names with p ≥ 0.5 for multi-label.
        probabilities: Label -> probability.
        text: The text as the model saw it.
        id: The row's id, where it has one.
    """

    label: str | list[str]
    probabilities: dict[str, float]
    text: str
    id: str = ""


EXPLANATION_NOTE = (
    "The rationale illustrates what the model learned to write about such a text. The label comes from another head, "
    "which does not read it: it is not the cause of the label."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the reasoning head writes about a row: an illustration, not the cause of the classifier's label.

    Args:
        rationale: What the reasoning head wrote before its answer.
        answer: The label that it named (a list for multi-label), or None where its answer cannot be read.
        label: The classifier's own label, as in `Prediction`; it may be another one.
        text: The text as the model saw it.
        note: `EXPLANATION_NOTE`, for whoever is shown the rationale.
    """

    rationale: str
    answer: str | list[str] | None
    label: str | list[str]
    text: str
    note: str = EXPLANATION_NOTE


class Classifier:
    """A trained classifier.

    Example:
        ```python
        classifier = Classifier.from_pretrained("output")
        classifier.predict(["The parcel never arrived."])          # ["refund"]
        classifier.predict_proba(["The parcel never arrived."])    # array of shape (1, C)
        ```

    Args:
        body: The backbone without LM head.
        head: From pooled hidden states to logits.
        tokenizer: The artifact's.
        info: The artifact's `dhrd.json`.
        batch_size: Rows a forward pass.
        directory: Where the artifact is, for `explain`.
    """

    def __init__(
        self,
        body: PreTrainedModel,
        head: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        info: ArtifactInfo,
        *,
        batch_size: int = 32,
        directory: Path | None = None,
    ) -> None:
        self.body = body.eval()
        self.head = head.eval()
        self.tokenizer = tokenizer
        self.info = info
        self.batch_size = batch_size
        self.directory = directory
        self.encoder = input_encoder(tokenizer, info)
        self._reasoner: Reasoner | None = None
        self.num_cut = 0
        self.num_mended = 0

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        batch_size: int = 32,
    ) -> Classifier:
        """Load an artifact.

        Args:
            directory: What `dhrd train` wrote.
            device: None: a GPU where there is one.
            dtype: None: as saved.
            batch_size: Rows a forward pass.

        Raises:
            ArtifactError: The directory is not a finished artifact, has no classifier, or is damaged.
            ConfigError: The device is not there.
        """
        info = read_info(directory)
        if info.kind == "causal_lm":
            raise ArtifactError(
                f"{directory}: trained with loss.classification_weight: 0, so it has no classifier; let it reason "
                f"instead: dhrd evaluate --mode cot --model {directory}"
            )
        if isinstance(device, str):
            check_device(device)
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        body, head = load_body_and_head(Path(directory), info, kind)
        tokenizer = load_input_encoder(directory, info).tokenizer
        options = {"batch_size": batch_size, "directory": Path(directory)}
        return cls(body.to(device), head.to(device), tokenizer, info, **options)  # type: ignore[arg-type]

    @property
    def labels(self) -> LabelSet:
        """The label set, in the order of the probabilities' columns."""
        return self.info.labels

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.body.device

    def logits(self, batch: Batch) -> Tensor:
        """Class logits of a batch of inputs, (B, C)."""
        return self.head(pool(last_hidden_states(self.body, batch), batch, self.info.pooling))

    def predict(self, rows: Row | Sequence[Row]) -> list[str] | list[list[str]]:
        """The label of each row, or the list of labels with p ≥ 0.5 for multi-label.

        Args:
            rows: Texts, dicts of the template's columns, or `Example`s; one alone is taken as a list of one.

        Raises:
            DataError: A row is not text, is empty, or lacks a column of the template.
        """
        return [prediction.label for prediction in self.stream(_as_list(rows))]  # type: ignore[return-value]

    def predict_proba(self, rows: Row | Sequence[Row]) -> numpy.ndarray:
        """Probabilities, (rows, C), columns in the order of `labels.names`.

        Raises:
            DataError: As `predict`.
        """
        items = _as_list(rows)
        if not items:
            return numpy.empty((0, len(self.labels)))
        return self.predict_proba_encoded(self._encode(items, 0))

    def predict_proba_encoded(self, inputs: Sequence[EncodedInput]) -> numpy.ndarray:
        """Probabilities of inputs that are encoded already, (rows, C)."""
        logits = predict_logits(
            self.logits,
            [item.input_ids for item in inputs],
            pad_token_id=self.tokenizer.pad_token_id,
            batch_size=self.batch_size,
            device=self.device,
        )
        if not numpy.isfinite(logits).all():
            raise ArtifactError("the classifier gives NaN or infinite logits: its weights are damaged; train again")
        return probabilities(logits, multi_label=self.labels.multi_label)

    def stream(self, rows: Iterable[Row], *, window: int = 1024) -> Iterator[Prediction]:
        """Predictions of any number of rows, in order, in constant memory.

        Args:
            rows: Texts, dicts, or `Example`s.
            window: Rows read ahead, within which batches are formed by length.

        Raises:
            DataError: As `predict`; predictions of the rows before it were delivered.
        """
        iterator, done = iter(rows), 0
        while True:
            chunk, failure = _take(iterator, window)
            if chunk:
                inputs = self._encode(chunk, done)
                done += len(chunk)
                yield from map(self._prediction, chunk, inputs, self.predict_proba_encoded(inputs))
            if failure is not None:
                raise failure
            if len(chunk) < window:
                return

    @overload
    def explain(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self, rows: Row, *, max_new_tokens: int = 500
    ) -> Explanation: ...

    @overload
    def explain(self, rows: Sequence[Row], *, max_new_tokens: int = 500) -> list[Explanation]: ...

    def explain(self, rows: Row | Sequence[Row], *, max_new_tokens: int = 500) -> Explanation | list[Explanation]:
        """Let the reasoning head write about rows: an illustration of what the model learned to write.

        It is not the cause of the label, which comes from the classification head alone and would be the same without
        it. It costs as many forward passes as there are tokens in the longest rationale, where a label costs one. The
        reasoning model is loaded from the artifact's directory by the first call, onto the classifier's device.

        Args:
            rows: Texts, dicts of the template's columns, or `Example`s; one alone gives one `Explanation`.
            max_new_tokens: Longest rationale with its answer.

        Raises:
            ArtifactError: The classifier was not loaded from a directory.
            DataError: As `predict`.
            ConfigError: A row and `max_new_tokens` are over the model's context.
        """
        items = _as_list(rows)
        if not items:
            return []
        inputs = self._encode(items, 0)
        decoded = self._reasoning().decode(inputs, max_new_tokens=max_new_tokens)
        labels = [one.label for one in map(self._prediction, items, inputs, self.predict_proba_encoded(inputs))]
        found = [
            Explanation(one.rationale, one.label, label, item.text)
            for one, label, item in zip(decoded, labels, inputs, strict=True)
        ]
        return found[0] if _is_one(rows) else found

    def _reasoning(self) -> Reasoner:
        if self._reasoner is None:
            if self.directory is None:
                raise ArtifactError(
                    "the classifier was not loaded from a directory, where the reasoning head is: "
                    "use Classifier.from_pretrained(DIR)"
                )
            self._reasoner = Reasoner.from_pretrained(self.directory, device=self.device, dtype=self.body.dtype)
        return self._reasoner

    def _encode(self, rows: Sequence[Row], first: int) -> list[EncodedInput]:
        inputs = self.encoder.encode([_columns(row, f"row {first + i}") for i, row in enumerate(rows)])
        self.num_cut += sum(item.was_cut for item in inputs)
        self.num_mended += sum(item.was_mended for item in inputs)
        return inputs

    def _prediction(self, row: Row, item: EncodedInput, probability_C: numpy.ndarray) -> Prediction:
        names = self.labels.names
        named = dict(zip(names, map(float, probability_C), strict=True))
        label: str | list[str]
        if self.labels.multi_label:
            label = [name for name in names if named[name] >= 0.5]
        else:
            label = names[int(probability_C.argmax())]
        return Prediction(label, named, item.text, row.id if isinstance(row, Example) else "")


def _is_one(rows: Row | Sequence[Row]) -> bool:
    return isinstance(rows, str | Mapping | Example)


def _as_list(rows: Row | Sequence[Row]) -> list[Row]:
    return [rows] if _is_one(rows) else list(rows)  # type: ignore[list-item, arg-type]


def _columns(row: Any, where: str) -> tuple[Mapping[str, Any], str]:
    if isinstance(row, Example):
        return row.columns(), row.where or where
    if isinstance(row, str):
        return {"input_text": row}, where
    if isinstance(row, Mapping):
        return row, where
    raise DataError(f"{where}: a row must be a text, a dict or an Example, got a {type(row).__name__}")


def _take(iterator: Iterator[Row], size: int) -> tuple[list[Row], DataError | None]:
    """The next rows, and the error that cut them short: rows before a bad one must still be delivered."""
    rows: list[Row] = []
    try:
        rows.extend(islice(iterator, size))
    except DataError as error:
        return rows, error
    return rows, None
