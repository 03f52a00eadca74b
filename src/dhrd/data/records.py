"""What a row is, from the file to the tensors.

Shape legend, used as name suffixes here, in `model/`, `losses.py` and `training/`:

    B  examples in a batch          D  hidden size          V  vocabulary size
    T  tokens, padding included     C  classes (labels)     N  target tokens of the reasoning head
    S  sequences that are run       W  their tokens: B and T, unless rows that begin alike are laid out as trees
    J  tasks

    input_ids_BT is (B, T), label_B is (B,), logits_BC is (B, C), hidden_ND is (N, D).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from jaxtyping import Bool, Float, Int

from dhrd.data.labels import ByTask, Label, LabelSet
from dhrd.data.row import Columns

if TYPE_CHECKING:
    from torch import Tensor
else:
    from typing import Any as Tensor

__all__ = ["IGNORE", "Batch", "ByTask", "EncodedExample", "Example", "Label", "LabelSet", "Tree"]

Record = TypeVar("Record", "Batch", "Tree")

IGNORE = -100
"""Target of a position that no head predicts; the field's usual value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row.

    Args:
        input_text: The text to classify; "" if the template reads other columns.
        label: A name, several names (multi-label), or None if unknown. An integer means the name with these digits.
            Votes or probabilities by name, until the label set is known; then the likeliest label, and `shares`. With
            several tasks a `ByTask`.
        shares: The probability of each label, in the order of the label set, if the row has soft labels.
        weight: How much the row's label counts in training.
        rationale: A teacher's reasoning toward the label, without naming it.
        rationale_task: With several tasks, the task whose label it argues for; None: the first.
        id: Identifies the row in errors, joins and predictions.
        group: Rows of one group are never split between train and dev, and resampled together (MultiRC: the paragraph).
        fields: The row's columns, for the input template.
        where: `file:line`, for errors.
        digest: Digest of the columns that the input template reads (`data/digest.py`); "" if no source read the row.
        rendered: An input template and the text that it rendered from the columns, if a source rendered it.
    """

    input_text: str = ""
    label: Label | None = None
    shares: tuple[float, ...] | None = None
    weight: float = 1.0
    rationale: str | None = None
    rationale_task: str | None = None
    id: str = ""
    group: str | None = None
    fields: Columns = field(default_factory=dict)
    where: str = ""
    digest: str = ""
    rendered: tuple[str, str] | None = field(default=None, repr=False, compare=False)

    def columns(self) -> Columns:
        """What the input template sees."""
        return {**self.fields, "input_text": self.input_text} if self.input_text else self.fields


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedExample:
    """One row as tokens: s = input_ids ⊕ continuation_ids (`data/sequence.py`).

    Args:
        id: The row's.
        input_ids: x.
        continuation_ids: Rationale and answer with their markers; empty if there is only the label to learn.
        label: Class indices.
        unlabelled: Numbers of the tasks that the row has no label of; its class indices are those of the others.
        shares: As in the row.
        weight: As in the row.
        reason_end: Number of continuation tokens up to the rationale's last; 0: there is no rationale.
        keyword_ids: Content tokens of the rationale, each once.
        group: The row's, for intervals; no part of what is learned.
    """

    id: str
    input_ids: list[int]
    continuation_ids: list[int]
    label: tuple[int, ...]
    unlabelled: tuple[int, ...] = ()
    shares: tuple[float, ...] | None = None
    weight: float = 1.0
    reason_end: int = 0
    keyword_ids: tuple[int, ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Rows laid out side by side in few sequences, what they have in common once (`data/tree.py`).

    Args:
        input_ids_SW: The sequences, padded.
        position_ids_SW: Each token's place in its own row.
        visible_SWK: Which keys a token sees, only its row's; K is a prefix's tokens, run before, then W.
        place_BT: Place of each row's tokens in the flattened S · W; -1 beyond the row's end.
        target_place_N: Place of the token that must predict each target; None: nothing is learned.
        target_N: The token to predict, once for each place.
        target_count_N: Number of rows in which it must be predicted.
    """

    input_ids_SW: Int[Tensor, "S W"]
    position_ids_SW: Int[Tensor, "S W"]
    visible_SWK: Bool[Tensor, "S W K"]
    place_BT: Int[Tensor, "B T"]
    target_place_N: Int[Tensor, "N"] | None = None
    target_N: Int[Tensor, "N"] | None = None
    target_count_N: Float[Tensor, "N"] | None = None

    def to(self, device: Any, *, non_blocking: bool = False) -> Tree:
        """The same on another device."""
        return _moved(self, device, non_blocking=non_blocking)


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
        label_BC: Class targets: one-hot, multi-hot for multi-label, or probabilities; None at inference.
        unlabelled_BJ: Which rows lack a label of which task; None: no labels are missing.
        row_weight_B: The rows' weights; 0 for one that is there only so that a process without rows takes part.
        reason_end_B: Position of the rationale's last token; -1 where a row has none.
        keyword_2K: Rows and tokens of the rationales' content words, K pairs in all.
        frozen_BTD: Hidden states after the frozen blocks, which are then not run; None: they are run.
        tree: How the rows are run if they share text; None: as they are here.
    """

    ids: tuple[str, ...]
    input_ids_BT: Int[Tensor, "B T"]
    attention_mask_BT: Bool[Tensor, "B T"]
    position_ids_BT: Int[Tensor, "B T"]
    pool_start_B: Int[Tensor, "B"]
    pool_index_B: Int[Tensor, "B"]
    target_BT: Int[Tensor, "B T"] | None = None
    label_BC: Float[Tensor, "B C"] | None = None
    unlabelled_BJ: Bool[Tensor, "B J"] | None = None
    row_weight_B: Float[Tensor, "B"] | None = None
    reason_end_B: Int[Tensor, "B"] | None = None
    keyword_2K: Int[Tensor, "2 K"] | None = None
    frozen_BTD: Float[Tensor, "B T D"] | None = None
    tree: Tree | None = None

    def to(self, device: Any) -> Batch:
        """The same batch on another device."""
        return _moved(self, device, non_blocking=True)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding, those of rows that count for nothing left out."""
        tokens_B = self.attention_mask_BT.sum(1)
        return int(tokens_B[self.row_weight_B > 0].sum() if self.row_weight_B is not None else tokens_B.sum())


def _moved(record: Record, device: Any, *, non_blocking: bool) -> Record:
    found = {f.name: getattr(record, f.name) for f in fields(record)}
    moved = {name: value.to(device, non_blocking=non_blocking) for name, value in found.items() if hasattr(value, "to")}
    return replace(record, **moved)
