"""Calibrating a trained model: its head divided by the temperature of held-out rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dhrd.data.records import EncodedExample
from dhrd.data.rows import multi_hot
from dhrd.evaluation.live import LiveModel
from dhrd.metrics.calibration import fit_temperature


def calibrate_head(live: LiveModel, examples: Sequence[EncodedExample], *, multi_label: bool) -> float:
    """Divide a trained head by the temperature of held-out rows, in place: every reader's probabilities then follow.

    The last layer has no bias, so its logits are divided exactly, and every label stays as it is.

    Args:
        live: Its model's `head.score.weight` is changed.
        examples: At least one row that the weights were not trained on.
        multi_label: Whether a row may have several labels.

    Returns:
        The temperature.
    """
    weight = live.model.head.score.weight
    logits_BC = live.logits([example.input_ids for example in examples])
    gold_BC = multi_hot([example.label for example in examples], logits_BC.shape[1])
    temperature = fit_temperature(logits_BC, gold_BC, multi_label=multi_label)
    with torch.no_grad():
        weight.div_(temperature)
    return temperature
