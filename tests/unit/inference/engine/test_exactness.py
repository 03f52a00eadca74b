"""What the engine relies on is run in each of its ways, and gives the same vectors."""

from __future__ import annotations

import torch

from dhrd.inference.engine.exactness import engine_states
from helpers.models import make_causal_lm

ROWS = [[7 * i % 97 for i in range(24)] + own for own in ([1, 2], [3], [4, 5, 6])]


def test_the_rows_come_apart_packed_and_after_a_prefix() -> None:
    found = engine_states(make_causal_lm("llama").eval().base_model, ROWS)
    assert [tuple(states.shape) for states in found] == [(3, 16)] * 3
    assert not torch.allclose(found[0][0], found[0][1])
    for shared in found[1:]:
        torch.testing.assert_close(shared, found[0], atol=1e-4, rtol=1e-4)
