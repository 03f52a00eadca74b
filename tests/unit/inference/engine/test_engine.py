"""The engine: logits in the inputs' order, text shared where it pays, layers compiled or a clear line why not."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from dhrd.errors import ConfigError
from dhrd.inference.engine.engine import Engine
from dhrd.inference.engine.options import Options
from helpers.inference import forest
from helpers.models import make_causal_lm


def engine(**options: object) -> Engine:
    body = make_causal_lm("llama").eval().base_model
    torch.manual_seed(1)
    given = Options(**{"max_tokens_per_pass": 512, "pass_overhead_tokens": 0} | options)  # type: ignore[arg-type]
    return Engine(body, nn.Linear(16, 3), pooling="last", pad_token_id=0, options=given)


def one_by_one(run: Engine, input_ids: list[list[int]]) -> Tensor:
    with torch.no_grad():
        last = [run.body(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1] for ids in input_ids]
        return run.head(torch.stack(last))


@pytest.mark.parametrize("share", [True, False])
def test_logits_are_those_of_each_row_alone_in_the_order_given(share: bool) -> None:
    run, rows = engine(share_prefixes=share), forest(1)
    for order in (rows, rows[::-1], random.Random(2).sample(rows, 9)):
        torch.testing.assert_close(run.logits(order), one_by_one(run, order), rtol=0, atol=1e-4)
    assert run.work.num_rows == 2 * len(rows) + 9


def test_what_the_head_reads_is_had_without_it() -> None:
    run, rows = engine(), forest(1)
    with torch.no_grad():
        torch.testing.assert_close(run.head(run.pooled(rows)), run.logits(rows), rtol=0, atol=1e-4)
    assert run.pooled(rows).shape == (len(rows), 16)


def test_text_is_shared_where_it_costs_less() -> None:
    passage = [(5 * i) % 251 for i in range(300)]
    rows = [[*passage, i, i + 1] for i in range(40)]
    shared, apart = engine(), engine(share_prefixes=False)
    torch.testing.assert_close(shared.logits(rows), apart.logits(rows), rtol=0, atol=1e-4)
    assert shared.work.num_needed_tokens == 300 + 40 * 2
    assert apart.work.num_needed_tokens == 40 * 302


def test_one_row_at_a_time_computes_an_instruction_twice_at_most() -> None:
    instruction = [(5 * i) % 251 for i in range(200)]
    rows = [[*instruction, i, i + 1] for i in range(10)]
    kept, forgetful = engine(max_kept_tokens=512), engine()
    for row in rows:
        torch.testing.assert_close(kept.logits([row]), forgetful.logits([row]), rtol=0, atol=1e-4)
    assert kept.work.num_run_tokens <= 2 * 200 + 10 * 2
    assert forgetful.work.num_run_tokens == 10 * 202


def test_where_sharing_is_not_exact_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dhrd.inference.engine.engine.why_not_exact", lambda body, states: "for a test")
    run, row = engine(max_kept_tokens=512), [(5 * i) % 251 for i in range(200)]
    for last in range(4):
        torch.testing.assert_close(run.logits([[*row, last]]), one_by_one(run, [[*row, last]]), rtol=0, atol=1e-4)
    assert run.work.num_run_tokens == 4 * 201


def test_a_layer_that_cannot_be_compiled_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler here\nand a trace")

    run = engine()
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: setattr(self, "forward", fail))
    with pytest.raises(ConfigError, match=r"torch\.compile failed here \(no compiler here\)"):
        run.compile()
