"""L_cls: the classification head's loss over the labels of each task.

Shapes: see the legend in `data/records.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dhrd.config import LossSettings
from dhrd.data.label_names import clean_name, spelled
from dhrd.data.records import Batch, LabelSet
from dhrd.errors import ConfigError

_EQUAL: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLoss:
    """L_cls, or one task's part of it.

    Args:
        multi_label: Binary cross-entropy over every class instead of cross-entropy over classes.
        class_weight_C: Weight of each class; None: all 1.
        smoothing: Share of a label's probability spread over all classes.
        columns: The task's classes among those of all tasks: all else here is of these alone.
        task: Its number, by which a batch tells the rows that have no label of it.
        weight: What its loss weighs beside those of the other tasks.
    """

    multi_label: bool = False
    class_weight_C: Float[Tensor, "C"] | None = None
    smoothing: float = 0.0
    columns: slice = field(default_factory=lambda: slice(None))
    task: int = 0
    weight: float = 1.0

    def count(self, batch: Batch) -> Float[Tensor, ""]:
        """What the sum is divided by: examples (times classes for multi-label), each with its weight.

        With class weights an example weighs as its label does, one of several shares as they do on average: torch's
        mean does so for a target that is an index, and not for the same one as a probability of 1.
        """
        label_BC = self._label(batch)
        weight_C = self._weight_C(label_BC)
        per_row_B = weight_C.sum().expand(len(batch.ids)) if self.multi_label else (label_BC * weight_C).sum(1)
        return (per_row_B * self.row_weight(batch)).sum()

    def __call__(self, logits_BC: Float[Tensor, "B C"], batch: Batch) -> Float[Tensor, ""]:
        """The summed loss of a batch's logits, in fp32."""
        label_BC = self._label(batch)
        logits_BC, weight_C = logits_BC[:, self.columns].float(), self._weight_C(label_BC)
        if self.multi_label:
            target_BC = label_BC * (1 - self.smoothing) + self.smoothing / 2
            loss_BC = F.binary_cross_entropy_with_logits(logits_BC, target_BC, reduction="none")
            loss_B = (loss_BC * weight_C).sum(1)
        else:  # targets as probabilities: of a single label the same bits as its index
            loss_B = F.cross_entropy(logits_BC, label_BC, weight_C, reduction="none", label_smoothing=self.smoothing)
        return (loss_B * self.row_weight(batch)).sum()

    def taught(
        self, logits_BC: Float[Tensor, "B C"], teacher_BC: Float[Tensor, "B C"], batch: Batch
    ) -> Float[Tensor, "B"]:
        """The loss of each row towards the probabilities of other logits, with the class weights that `count` gives it.

        Args:
            logits_BC: Of the classifier.
            teacher_BC: What it is to answer, in place of the labels; without a gradient.
            batch: Its labels say what each row weighs.
        """
        logits_BC, teacher_BC = logits_BC[:, self.columns].float(), teacher_BC[:, self.columns]
        label_BC = self._label(batch)
        weight_C = self._weight_C(label_BC)
        if self.multi_label:
            loss_BC = F.binary_cross_entropy_with_logits(logits_BC, torch.sigmoid(teacher_BC), reduction="none")
            return (loss_BC * weight_C).sum(1)
        loss_B = F.cross_entropy(logits_BC, teacher_BC.softmax(1), reduction="none")
        if self.class_weight_C is None:  # shares need not sum to 1 to the last bit
            return loss_B
        return loss_B * (label_BC * weight_C).sum(1)

    def row_weight(self, batch: Batch) -> Float[Tensor, "B"]:
        """The weights of the rows, 0 for those without a label of this task."""
        assert batch.row_weight_B is not None
        if batch.unlabelled_BJ is None:
            return batch.row_weight_B
        return batch.row_weight_B.masked_fill(batch.unlabelled_BJ[:, self.task], 0)

    def _label(self, batch: Batch) -> Float[Tensor, "B C"]:
        assert batch.label_BC is not None
        return batch.label_BC[:, self.columns]

    def _weight_C(self, label_BC: Tensor) -> Tensor:
        if self.class_weight_C is None:
            return torch.ones(label_BC.shape[1], device=label_BC.device)
        return self.class_weight_C.to(label_BC.device)


def label_losses(
    loss: LossSettings,
    labels: LabelSet,
    mass_C: Callable[[], np.ndarray],
    task_weights: Mapping[str, float] = _EQUAL,
) -> dict[str, LabelLoss]:
    """L_cls of each task, by name; that of the only one has the name "".

    Args:
        loss: Says what each label weighs, and how much is smoothed.
        labels: The label set.
        mass_C: How many training rows each label has, (C,); called for `class_weights: balanced` alone.
        task_weights: What each task weighs; one that is not there weighs 1.

    Raises:
        ConfigError: `loss.class_weights` names other labels.
    """
    weights = _class_weights(loss, labels, mass_C)
    return {
        task.name: LabelLoss(
            multi_label=task.labels.multi_label,
            class_weight_C=None if weights is None else weights[task.columns],
            smoothing=loss.label_smoothing,
            columns=task.columns,
            task=number,
            weight=task_weights.get(task.name, 1.0),
        )
        for number, task in enumerate(labels.slices)
    }


def _class_weights(loss: LossSettings, labels: LabelSet, mass_C: Callable[[], np.ndarray]) -> Tensor | None:
    """The weight of each label, all tasks concatenated; None: all 1."""
    given, names = loss.class_weights, labels.names
    if given is None:
        return None
    if given == "balanced":
        of_all_C = mass_C()
        of_tasks = [of_all_C[task.columns] for task in labels.slices]
        balanced = [mass.sum() / (len(mass) * (count or 1)) for mass in of_tasks for count in mass]
        return torch.tensor(balanced, dtype=torch.float32)
    given = {clean_name(name): weight for name, weight in given.items()}
    if set(given) != set(names):
        raise ConfigError(f"loss.class_weights: give one weight for each of {spelled(names)}; got {spelled(given)}")
    return torch.tensor([given[name] for name in names], dtype=torch.float32)
