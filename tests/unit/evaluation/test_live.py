"""A model in training is read by the engine: the numbers of its own forward pass, at the price of the engine's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from dhrd.config import LoraSettings
from dhrd.data.records import EncodedExample, LabelSet
from dhrd.data.rows import multi_hot
from dhrd.evaluation.live import LiveModel, calibrate_head
from dhrd.inference.engine.batching import predict_logits
from dhrd.metrics.calibration import fit_temperature
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.step import train_step
from helpers.inference import forest
from helpers.models import FAMILIES, NUM_LABELS, make_batch, make_model, rows, step_of

LABELS = LabelSet(("a", "b", "c"))


def forward_logits(model: DualHeadModel, input_ids: list[list[int]]) -> np.ndarray:
    """By the model's own forward pass, in fixed batches of rows side by side."""
    model.eval()
    pad = model.tokenizer.pad_token_id
    return predict_logits(lambda batch: model(batch).logits_BC, input_ids, pad_token_id=pad, batch_size=4)


def shared_rows() -> list[list[int]]:
    """Trees of rows below one long passage each, as the questions on a text are."""
    passages = [[(7 * i + k) % 251 for i in range(90)] for k in range(3)]
    return [passages[index % 3] + row for index, row in enumerate(forest(0))]


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_models_own_forward_pass(family: str, pooling: str) -> None:
    model, input_ids = make_model(family, pooling=pooling), shared_rows()
    live = LiveModel.of(model)
    expected = forward_logits(model, input_ids)
    np.testing.assert_allclose(live.logits(input_ids), expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))
    assert live.engine.work.sharing_ratio > 1.5


def lora(model: DualHeadModel) -> None:
    state = step_of(model, learning_rate=1e-2)
    train_step(state, [make_batch(rows(), model)], 1)  # an adapter begins as nothing


def weights(model: DualHeadModel) -> None:
    train_step(step_of(model, learning_rate=1e-3), [make_batch(rows(), model)], 1)


@pytest.mark.parametrize(
    ("settings", "train"), [({"lora": LoraSettings(r=2)}, lora), ({}, weights)], ids=["lora", "full"]
)
def test_an_update_is_seen_by_the_next_evaluation(
    settings: dict[str, Any], train: Callable[[DualHeadModel], None]
) -> None:
    model, input_ids = make_model("llama", **settings), shared_rows()
    live = LiveModel.of(model)
    assert live.engine.options.max_kept_tokens == 0  # keys and values of other weights
    before = live.logits(input_ids)
    train(model)
    after, expected = live.logits(input_ids), forward_logits(model, input_ids)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))


def test_mixed_precision_is_the_runs_own() -> None:
    """Sharing stays on under autocast: how a family attends is found out in the weights' precision."""
    model, input_ids = make_model("llama"), shared_rows()
    exact = LiveModel.of(model).logits(input_ids)
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    live = LiveModel.of(model, accelerator)
    found = live.logits(input_ids)
    scale = float(np.abs(exact).max())
    assert 1e-5 * scale < np.abs(found - exact).max() < 0.05 * scale
    with accelerator.autocast():
        own = forward_logits(model, input_ids)
    np.testing.assert_allclose(found, own, rtol=0, atol=0.05 * scale)
    assert live.engine.options.share_prefixes
    assert live.engine.work.sharing_ratio > 1.5


class Two:
    """One of two processes, as far as an accelerator is asked which."""

    num_processes = 2
    autocast = staticmethod(torch.no_grad)

    def __init__(self, process_index: int) -> None:
        self.process_index = process_index


def test_processes_share_the_rows_and_all_get_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, input_ids = make_model("llama"), shared_rows()[:7]
    expected = LiveModel.of(model).logits(input_ids)
    halves = [LiveModel.of(model).logits(input_ids[rank::2]) for rank in (0, 1)]

    def gather(parts: list[Any], part: np.ndarray) -> None:
        gathered.append(part)
        parts[:] = halves

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    for rank in (0, 1):
        gathered: list[np.ndarray] = []
        live = LiveModel.of(model, Two(rank), split=True)  # type: ignore[arg-type]
        np.testing.assert_allclose(live.logits(input_ids), expected, rtol=1e-5, atol=1e-5)
        assert [len(part) for part in gathered] == [4 - rank]
    alone = LiveModel.of(model, Two(1))  # type: ignore[arg-type]
    assert len(alone.logits(input_ids)) == 7
    assert gathered[1:] == []


def test_a_process_without_rows_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one row for two of them: the others would wait for it."""
    model, input_ids = make_model("llama"), shared_rows()[:1]
    expected = LiveModel.of(model).logits(input_ids)

    def gather(parts: list[Any], part: np.ndarray) -> None:
        assert (part.shape, part.dtype) == ((0, NUM_LABELS), np.float32)
        parts[:] = [expected, part]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    second = LiveModel.of(model, Two(1), split=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(second.logits(input_ids), expected)
    assert LiveModel.of(model).logits([]).shape == (0, NUM_LABELS)


def test_metrics_are_of_the_rows_labels() -> None:
    model = make_model("llama")
    live, input_ids = LiveModel.of(model), shared_rows()[:9]
    answers = forward_logits(model, input_ids).argmax(1).tolist()
    right = [
        EncodedExample(id=f"{i}", input_ids=ids, continuation_ids=[1, 2], label=(label,))
        for i, (ids, label) in enumerate(zip(input_ids, answers, strict=True))
    ]
    wrong = [
        EncodedExample(id=e.id, input_ids=e.input_ids, continuation_ids=[], label=((e.label[0] + 1) % NUM_LABELS,))
        for e in right[:3]
    ]
    assert live.evaluate(right, LABELS)["accuracy"] == 1
    metrics = live.evaluate([*wrong, *right[3:]], LABELS, intervals=True)
    assert metrics["accuracy"] == pytest.approx(6 / 9)
    assert metrics["num_examples"] == 9 and "interval_95" in metrics
    assert live.predict(right, LABELS).ids == [str(i) for i in range(9)]


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
    labels = LabelSet(("a", "b", "c"), multi_label=multi_label)
    temperature = calibrate_head(live, examples, labels)[""]
    assert temperature == pytest.approx(fit_temperature(before_BC, gold_BC, multi_label=multi_label))
    assert temperature > 1.5
    after_BC = live.logits(ids)
    np.testing.assert_allclose(after_BC, before_BC / temperature, rtol=1e-4, atol=1e-5)
    assert (after_BC.argmax(axis=1) == before_BC.argmax(axis=1)).all()
    assert fit_temperature(after_BC, gold_BC, multi_label=multi_label) == pytest.approx(1, abs=0.01)
