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

from dhrd._text import shown
from dhrd.data.label_names import (
    as_integer,
    as_label,
    bits,
    fold,
    is_zeros_and_ones,
    listed,
    multi_hot_problem,
    places_of,
)
from dhrd.data.wording import wording
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
        label: A name, several names (multi-label), or None where unknown. An integer is the name that it spells.
        rationale: A teacher's reasoning toward the label, without naming it.
        id: Names the row in errors, joins and predictions.
        group: Rows of one group are never split between train and dev (MultiRC: the paragraph).
        fields: The row's columns, for the input template.
        where: `file:line`, for errors.
    """

    input_text: str = ""
    label: Label | None = None
    rationale: str | None = None
    id: str = ""
    group: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def columns(self) -> Mapping[str, Any]:
        """What the input template sees."""
        return {**self.fields, "input_text": self.input_text} if self.input_text else self.fields


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of a task.

    Args:
        names: In the order of their places in the head; `id2label` of the artifact.
        words: How the reasoning head writes each; the names unless a task says otherwise.
        multi_label: Whether a row may have several (or none).
        ordered: Whether the order is its author's (`data.labels`, a ClassLabel, a task), so that an integer that is no
            name may be a place in it. False: we sorted the names, and no user ever saw their places.
    """

    names: tuple[str, ...]
    words: tuple[str, ...] = ()
    multi_label: bool = False
    ordered: bool = True

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
        try:
            given = as_label(label)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None
        if given is None:
            raise DataError(f"{where}: label: missing")
        if isinstance(given, tuple) != self.multi_label:
            kinds = ("a list", "one label") if isinstance(given, tuple) else ("one label", "a list of labels")
            raise DataError(f"{where}: label: {kinds[0]} ({shown(label)}) where the other rows have {kinds[1]}")
        names = given if isinstance(given, tuple) else (given,)
        hot = self._multi_hot(names, where) if self.multi_label and is_zeros_and_ones(names) else None
        return hot if hot is not None else tuple(sorted({self._index(name, where) for name in names}))

    def named(self, label: Label, where: str = "") -> str | tuple[str, ...]:
        """A row's label by name, or names.

        Raises:
            DataError: As `encode`.
        """
        names = tuple(self.names[index] for index in self.encode(label, where))
        return names if self.multi_label else names[0]

    def _index(self, name: str, where: str) -> int:
        places = places_of(self.names)
        if (index := places.get(name)) is not None:
            return index
        place = as_integer(name)
        if place is not None and not any(as_integer(one) is not None for one in self.names):
            if self.ordered and 0 <= place < len(self.names):
                return place
            raise DataError(f"{where}: label: {self._no_place(place)}")
        alike = next((f"; {shown(one)} differs from it in case or space alone" for one in self.names
                      if fold(one) == fold(name)), "")  # fmt: skip
        raise DataError(
            f"{where}: label: {shown(name)} is unknown; labels are {listed(self.names)}{alike} "
            "(correct the row, or list all labels in data.labels)"
        )

    def _no_place(self, place: int) -> str:
        if self.ordered:
            return f"{place} is out of range; labels are 0 to {len(self.names) - 1}"
        return (
            f"labels are names here, {listed(self.names)}; {place} is none of them "
            "(write the name, or train with data.labels or a ClassLabel, which say what an integer means)"
        )

    def _multi_hot(self, values: tuple[str, ...], where: str) -> tuple[int, ...] | None:
        """The classes of a row of 0 and 1, one for each label; None: it is a list of labels."""
        repeats, fits = len(set(values)) < len(values), self.ordered and len(values) == len(self)
        if fits and repeats:
            return tuple(index for index, value in enumerate(values) if value == "1")
        if fits:
            raise DataError(f"{where}: label: {bits(values)} is multi-hot, or lists both labels; list the names")
        if repeats:
            raise DataError(f"{where}: label: {multi_hot_problem(values)}; these rows have {len(self)} labels")
        return None

    def write(self, indices: Sequence[int]) -> str:
        """The answer as the reasoning head writes it: y of the sequence (paper, section 3)."""
        return wording(self.words, self.names).write([self.words[index] for index in indices])

    def read(self, answer: str) -> tuple[int, ...] | None:
        """The class indices that an answer names, the inverse of `write`; None where it cannot be read.

        Its first line must be a label's word or name, and nothing else but a heading, markup, or a remark in brackets.
        """
        return wording(self.words, self.names).read(answer, multi_label=self.multi_label)


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
