"""Outcomes of no model: random ones, and whether two are the same."""

from __future__ import annotations

import numpy as np

from dhrd.data.records import LabelSet
from dhrd.metrics.outcomes import Outcomes


def assert_same(a: Outcomes, b: Outcomes) -> None:
    assert (a.ids, a.labels, a.group_B) == (b.ids, b.labels, b.group_B)
    for name in ("gold_BC", "predicted_BC", "readable_B"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.probabilities_BC is None) == (b.probabilities_BC is None)
    if a.probabilities_BC is not None and b.probabilities_BC is not None:
        np.testing.assert_allclose(a.probabilities_BC, b.probabilities_BC, atol=5e-7)


def random_outcomes(labels: LabelSet, num_rows: int = 40) -> Outcomes:
    rng = np.random.default_rng(0)
    if labels.multi_label:
        gold, p = rng.integers(0, 2, (num_rows, len(labels))), rng.random((num_rows, len(labels)))
    else:
        gold = np.eye(len(labels))[rng.integers(0, len(labels), num_rows)]
        p = rng.dirichlet(np.ones(len(labels)), num_rows)
    return Outcomes.of_probabilities(
        ids=[f"r{i}" for i in range(num_rows)], probabilities_BC=p, gold_BC=gold, labels=labels
    )
