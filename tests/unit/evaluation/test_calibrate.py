"""The head divided by the temperature of held-out rows: sure of nothing that is not so, and every label as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dhrd.data.records import EncodedExample
from dhrd.data.rows import multi_hot
from dhrd.evaluation.calibrate import calibrate_head
from dhrd.evaluation.live import LiveModel
from dhrd.metrics.calibration import fit_temperature
from helpers.models import make_model


def held_out(live: LiveModel, num_rows: int = 60) -> list[EncodedExample]:
    """Rows of few tokens, two thirds of them labelled as the model says."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 200, (num_rows, 6)).tolist()
    said_B = live.logits(ids).argmax(axis=1)
    label_B = np.where(np.arange(num_rows) % 3 == 0, rng.integers(3, size=num_rows), said_B).tolist()
    return [
        EncodedExample(id=str(row), input_ids=ids[row], continuation_ids=[], label=(label_B[row],))
        for row in range(num_rows)
    ]


@pytest.mark.parametrize("multi_label", [False, True])
def test_logits_are_divided_and_labels_stay(multi_label: bool) -> None:
    live = LiveModel.of(make_model("llama"))
    examples = held_out(live)
    ids = [example.input_ids for example in examples]
    with torch.no_grad():  # surer than it may be: logits are 10 apart
        live.model.head.score.weight.mul_(10 / float(np.ptp(live.logits(ids), axis=1).mean()))
    before_BC = live.logits(ids)
    gold_BC = multi_hot([example.label for example in examples], 3)
    temperature = calibrate_head(live, examples, multi_label=multi_label)
    assert temperature == pytest.approx(fit_temperature(before_BC, gold_BC, multi_label=multi_label))
    assert temperature > 1.5
    after_BC = live.logits(ids)
    np.testing.assert_allclose(after_BC, before_BC / temperature, rtol=1e-4, atol=1e-5)
    assert (after_BC.argmax(axis=1) == before_BC.argmax(axis=1)).all()
    assert fit_temperature(after_BC, gold_BC, multi_label=multi_label) == pytest.approx(1, abs=0.01)
