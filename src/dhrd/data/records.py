"""What a row is, from the file to the tensors.

Shape legend, used as name suffixes here, in `model/`, `losses.py` and `training/`:

    B  examples in a batch          D  hidden size          V  vocabulary size
    T  tokens, padding included     C  classes (labels)     N  target tokens of the reasoning head

    input_ids_BT is (B, T), label_B is (B,), logits_BC is (B, C), hidden_ND is (N, D).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from jaxtyping import Bool, Float, Int

from dhrd.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor
else:
    from typing import Any as Tensor

Label = int | str | tuple[str, ...] | tuple[int, ...]

IGNORE = -100
"""Target of a position that no head predicts; the field's usual value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row.

    Args:
        input_text: The text to classify; "" where the template reads other columns.
        label: An integer, a name, several names (multi-label), or None where unknown.
        rationale: A teacher's reasoning toward the label, without naming it.
        id: Names the row in errors, joins and predictions.
        group: Rows of one group are never split between train and dev (MultiRC: the paragraph).
        fields: The row's columns, for the input template.
        where: `file:line`, for errors.
        digest: Of the columns that the input template reads (`data/digest.py`); "" where no source read the row.
    """

    input_text: str = ""
    label: Label | None = None
    rationale: str | None = None
    id: str = ""
    group: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    digest: str = ""

    def columns(self) -> Mapping[str, Any]:
        """What the input template sees."""
        return {**self.fields, "input_text": self.input_text} if self.input_text else self.fields


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of a task.

    Args:
        names: In the order of their integers; `id2label` of the artifact.
        words: How the reasoning head writes each; the names unless a task says otherwise.
        multi_label: Whether a row may have several (or none).
    """

    names: tuple[str, ...]
    words: tuple[str, ...] = ()
    multi_label: bool = False

    def __post_init__(self) -> None:
        if not self.words:
            object.__setattr__(self, "words", self.names)
        assert len(self.words) == len(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, label: Label, where: str = "") -> tuple[int, ...]:
        """A row's label as a tuple of class indices, of length one unless multi-label.

        Raises:
            DataError: The label is unknown or of the wrong kind.
        """
        several = isinstance(label, tuple)
        if several != self.multi_label:
            given, wanted = ("a list", "one label") if several else ("one label", "a list of labels")
            raise DataError(f"{where}: label: {given} ({label!r}) where the other rows have {wanted}")
        return tuple(sorted({self._index(one, where) for one in (label if isinstance(label, tuple) else (label,))}))

    def _index(self, label: int | str, where: str) -> int:
        if isinstance(label, int):
            if 0 <= label < len(self.names):
                return label
            raise DataError(f"{where}: label: {label} is out of range; labels are 0 to {len(self.names) - 1}")
        if label in self.names:
            return self.names.index(label)
        raise DataError(
            f"{where}: label: {label!r} is unknown; labels are {', '.join(map(repr, self.names))} "
            "(correct the row, or list all labels in data.labels)"
        )

    def write(self, indices: Sequence[int]) -> str:
        """The answer as the reasoning head writes it: y of the sequence (paper, section 3)."""
        return ", ".join(self.words[index] for index in indices) if indices else "none"

    def read(self, answer: str) -> tuple[int, ...] | None:
        """The class indices that an answer names, the inverse of `write`; None where it cannot be read.

        Its first line must be a label's word or name and nothing else but a full stop.
        """
        first = answer.strip().partition("\n")[0].strip().rstrip(".").casefold()
        if not self.multi_label:
            return self._read_one(first)
        if first == "none":
            return ()
        found = [self._read_one(part.strip()) for part in first.split(",")]
        return tuple(sorted({one[0] for one in found if one})) if all(found) else None

    def _read_one(self, text: str) -> tuple[int, ...] | None:
        for spelling in (self.words, self.names):  # words first: a word may be another label's name
            for index, word in enumerate(spelling):
                if text == word.casefold():
                    return (index,)
        return None


def infer_labels(
    examples: Sequence[Example], *, names: Sequence[str] | None = None, num_labels: int | None = None
) -> LabelSet:
    """The label set of training rows.

    Args:
        examples: Rows with labels.
        names: Given names, in the order of their integers; None: found in the rows, sorted.
        num_labels: How many there are; needed only where integers leave out the highest.

    Raises:
        DataError: Integers and names are mixed, there are fewer than two labels, or their number is not `num_labels`.
    """
    multi_label = any(isinstance(example.label, tuple) for example in examples)
    seen = {one for e in examples for one in (e.label if isinstance(e.label, tuple) else (e.label,)) if one is not None}
    if names is None:
        kinds = {type(one) for one in seen}
        if len(kinds) > 1:
            raise DataError("label: some rows have integers and some have names; use one kind, or give data.labels")
        if kinds == {int} and num_labels is None and 0 not in seen:
            least = min(map(int, seen))
            raise DataError(f"label: integers count from 0, but the least here is {least}; give model.num_labels")
        if kinds == {int}:
            names = [str(index) for index in range(num_labels or max(map(int, seen)) + 1)]
        else:
            names = sorted(map(str, seen))
    if len(names) < 2:
        raise DataError(f"the training rows have {len(names)} label(s) ({', '.join(names)}); a classifier needs two")
    if num_labels is not None and num_labels != len(names):
        raise DataError(
            f"model.num_labels is {num_labels}, but there are {len(names)} labels ({', '.join(names)}); "
            "correct it or leave it out"
        )
    return LabelSet(tuple(names), multi_label=multi_label)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedExample:
    """One row as tokens: s = input_ids ⊕ continuation_ids (`data/sequence.py`).

    Args:
        id: The row's.
        input_ids: x.
        continuation_ids: Rationale and answer with their markers; empty where there is nothing to learn but the label.
        label: Class indices.
        reason_end: How many tokens of the continuation end with the rationale's last; 0: it has none.
        keyword_ids: Content tokens of the rationale, each once.
    """

    id: str
    input_ids: list[int]
    continuation_ids: list[int]
    label: tuple[int, ...]
    reason_end: int = 0
    keyword_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The tensors of one micro-batch.

    Args:
        ids: The rows' ids, for errors.
        input_ids_BT: Tokens of s, padded.
        attention_mask_BT: True on tokens, False on padding.
        position_ids_BT: 0, 1, 2 … from each row's first token.
        pool_start_B: Position of each input's first token (0 unless padded on the left).
        pool_index_B: Position of each input's last token: where `last` pools.
        target_BT: The token that the reasoning head must predict at each position, or IGNORE. Already shifted.
        label_BC: Class targets: one-hot, or multi-hot for multi-label; None at inference.
        row_weight_B: 1, or 0 for a row that is there only so that a process without rows takes part.
        visible_from_B: The first of the input's tokens that the continuation sees; None: it sees the whole input.
        reason_end_B: Position of the rationale's last token; -1 where a row has none.
        keyword_2K: Rows and tokens of the rationales' content words, K pairs in all.
        frozen_BTD: Hidden states after the frozen blocks, which then are not run; None: they are.
    """

    ids: tuple[str, ...]
    input_ids_BT: Int[Tensor, "B T"]
    attention_mask_BT: Bool[Tensor, "B T"]
    position_ids_BT: Int[Tensor, "B T"]
    pool_start_B: Int[Tensor, "B"]
    pool_index_B: Int[Tensor, "B"]
    target_BT: Int[Tensor, "B T"] | None = None
    label_BC: Float[Tensor, "B C"] | None = None
    row_weight_B: Float[Tensor, "B"] | None = None
    visible_from_B: Int[Tensor, "B"] | None = None
    reason_end_B: Int[Tensor, "B"] | None = None
    keyword_2K: Int[Tensor, "2 K"] | None = None
    frozen_BTD: Float[Tensor, "B T D"] | None = None

    def to(self, device: Any) -> Batch:
        """The same batch on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "ids"}
        moved: dict[str, Any] = {
            name: tensor.to(device, non_blocking=True) if tensor is not None else None
            for name, tensor in tensors.items()
        }
        return replace(self, **moved)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding, those of rows that count for nothing left out."""
        tokens_B = self.attention_mask_BT.sum(1)
        return int(tokens_B[self.row_weight_B > 0].sum() if self.row_weight_B is not None else tokens_B.sum())
