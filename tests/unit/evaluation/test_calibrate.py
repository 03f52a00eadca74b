"""The head divided by the temperature of held-out rows: sure of nothing that is not so, and every label as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dhrd.data.records import EncodedExample
from dhrd.data.rows import multi_hot
from dhrd.errors import DataError
from dhrd.evaluation.calibrate import calibrate_head
from dhrd.evaluation.live import LiveModel
from dhrd.metrics.calibration import fit_temperature
from helpers.models import make_model


def held_out(num_rows: int = 60) -> list[EncodedExample]:
    """Rows of few tokens with labels of no sense, so that no probability near one is right."""
    rng = np.random.default_rng(0)
    return [
        EncodedExample(
            id=str(row), input_ids=rng.integers(5, 200, 6).tolist(), continuation_ids=[], label=(int(rng.integers(3)),)
        )
        for row in range(num_rows)
    ]


@pytest.mark.parametrize("multi_label", [False, True])
def test_logits_are_divided_and_labels_stay(multi_label: bool) -> None:
    model, examples = make_model("llama"), held_out()
    with torch.no_grad():
        model.head.score.weight.mul_(5)  # surer than it may be
    live, ids = LiveModel.of(model), [example.input_ids for example in examples]
    before_BC = live.logits(ids)
    gold_BC = multi_hot([example.label for example in examples], 3)
    temperature = calibrate_head(live, examples, multi_label=multi_label)
    assert temperature == pytest.approx(fit_temperature(before_BC, gold_BC, multi_label=multi_label))
    assert temperature > 1.5
    after_BC = live.logits(ids)
    np.testing.assert_allclose(after_BC, before_BC / temperature, rtol=1e-4, atol=1e-5)
    assert (after_BC.argmax(axis=1) == before_BC.argmax(axis=1)).all()
    assert fit_temperature(after_BC, gold_BC, multi_label=multi_label) == pytest.approx(1, abs=0.01)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        calibrate_head(LiveModel.of(make_model("llama")), [], multi_label=False)
