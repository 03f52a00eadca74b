"""The losses, each a sum, and what each is divided by; only the training step divides (`training/step.py`).

    classification  L_cls = Σ CE(head(h[p]), label)            / examples            paper, section 3
    reasoning       L_lm  = Σ CE(lm_head(h[t]), s[t+1])        / target tokens       paper, section 3; `lm_loss.py`
    keyword         L_kw  = Σ −log softmax(lm_head(h[p]))[w]   / content tokens w of the rationale
    privileged      L_pv  = Σ CE(head(h[e]), label) + CE(head(h[p]), sg(p(head(h[e]))))      / examples; in a row
                          without a rationale e is p and the second term 0, so that such a row still teaches its label

A row's weight and those of classes are the label's: they are factors in L_cls and L_pv and in what these are divided
by, and in nothing else.

p is the last token of x, e that of the rationale, sg stops the gradient. With several tasks L_cls and L_pv are one loss
a task (`classification/TASK`), over its own labels and the rows that have one of them. A further loss is one function
here and a line in `COUNTS`, its name and weight in `config/losses.py`, one line in `model/dual_head.py`.

Shapes: see the legend in `data/records.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dhrd.config.losses import LossName
from dhrd.data.records import IGNORE, Batch
from dhrd.label_loss import LabelLoss as LabelLoss
from dhrd.lm_loss import LogitTransform


def target_count(batch: Batch) -> Float[Tensor, ""]:
    """Target tokens of the reasoning head."""
    assert batch.target_BT is not None
    return (batch.target_BT != IGNORE).sum().float()


def keyword_count(batch: Batch) -> Float[Tensor, ""]:
    """Content tokens of the rationales."""
    assert batch.keyword_2K is not None
    return torch.tensor(float(batch.keyword_2K.shape[1]), device=batch.keyword_2K.device)


def keyword_loss(
    pooled_BD: Float[Tensor, "B D"],
    keyword_2K: Int[Tensor, "2 K"],
    weight_VD: Float[Tensor, "V D"],
    bias_V: Float[Tensor, "V"] | None = None,
    transform: LogitTransform | None = None,
) -> Float[Tensor, ""]:
    """L_kw: the rationale's content words as a bag, predicted by the LM head from the classified vector.

    Args:
        pooled_BD: The classified vectors.
        keyword_2K: Rows and tokens, K pairs.
        weight_VD: The LM head's weight.
        bias_V: The LM head's bias, where the family has one.
        transform: What the family does to its logits.
    """
    logits_BV = F.linear(pooled_BD.to(weight_VD.dtype), weight_VD, bias_V).float()
    row_K, token_K = keyword_2K
    log_p_BV = torch.log_softmax((transform or LogitTransform())(logits_BV), dim=1)
    return -log_p_BV[row_K, token_K].sum()


COUNTS: dict[LossName, Callable[[LabelLoss, Batch], Tensor]] = {
    "classification": LabelLoss.count,
    "reasoning": lambda _, batch: target_count(batch),
    "keyword": lambda _, batch: keyword_count(batch),
    "privileged": LabelLoss.count,
}
"""What each loss of a batch is divided by, once summed over the whole effective batch."""

_BY_TASK: tuple[LossName, ...] = ("classification", "privileged")


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A loss by its name in the settings, and of which labels it is, where it is of labels."""

    kind: LossName
    label_loss: LabelLoss

    @property
    def task_weight(self) -> float:
        """What it weighs beside those of other tasks, times the weight in the settings."""
        return self.label_loss.weight if self.kind in _BY_TASK else 1.0

    def count(self, batch: Batch) -> Float[Tensor, ""]:
        """What its sum over a batch is divided by, once summed over the whole effective batch."""
        return COUNTS[self.kind](self.label_loss, batch)


def loss_terms(kinds: Iterable[LossName], label_losses: Mapping[str, LabelLoss]) -> dict[str, LossTerm]:
    """The losses of a run by name: those of labels once for each task, `classification/TASK`.

    Args:
        kinds: Of `LossSettings.names`.
        label_losses: L_cls of each task by its name; that of the only one has the name "".
    """
    first = next(iter(label_losses))
    return {
        f"{kind}/{task}" if task and kind in _BY_TASK else kind: LossTerm(kind, label_loss)
        for kind in kinds
        for task, label_loss in label_losses.items()
        if kind in _BY_TASK or task == first
    }


def privileged_loss(
    logits_BC: Float[Tensor, "B C"], privileged_BC: Float[Tensor, "B C"], batch: Batch, label_loss: LabelLoss
) -> Float[Tensor, ""]:
    """L_pv: the head learns the label where the rationale has been read, and there teaches itself where it has not
    (learning under privileged information: Lopez-Paz et al. 2016, arXiv 1511.03643, section 4). In a row without a
    rationale the classifier learns the label itself.

    Args:
        logits_BC: Of the classifier.
        privileged_BC: Of the same head at the rationale's end.
        batch: Says which rows have a rationale.
        label_loss: L_cls.
    """
    assert batch.reason_end_B is not None
    has_rationale_B = batch.reason_end_B >= 0
    known = label_loss(torch.where(has_rationale_B[:, None], privileged_BC, logits_BC), batch)
    taught_B = label_loss.taught(logits_BC, privileged_BC.detach(), batch)
    return known + (taught_B * label_loss.row_weight(batch) * has_rationale_B).sum()
