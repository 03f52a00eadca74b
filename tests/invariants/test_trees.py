"""An update whose rows share text: loss and every gradient are those of the same rows apart (fp32, nine families)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from dhrd.config import LossSettings
from dhrd.config.losses import LossName
from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import Batch, EncodedExample
from dhrd.data.sharing import Sharing
from dhrd.losses import LabelLoss
from dhrd.model import tree_attention as attention
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.step import LOG_NAMES
from helpers.models import FAMILIES, NUM_LABELS, clone, difference, gradients_of_step, make_model

TOLERANCE = 1e-5
SHARED = Sharing(pair=1e-4)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK_QUERIES", 16)  # several a sequence at these sizes


def rows(seed: int = 0, num_paragraphs: int = 3) -> list[EncodedExample]:
    """Paragraph, question, answer; some rows without a rationale, several rationales of one input, an input that is the
    beginning of another, and a stranger."""
    draw = random.Random(seed)

    def tokens(low: int, high: int) -> list[int]:
        return [draw.randrange(256) for _ in range(draw.randint(low, high))]

    found: list[EncodedExample] = []
    for _ in range(num_paragraphs):
        paragraph = tokens(18, 30)
        for _ in range(3):
            question = paragraph + tokens(2, 6)
            for answer in range(3):
                number = len(found)
                after = [] if number % 4 == 3 else [11, 12, 13, *tokens(4, 12)]
                found.append(
                    EncodedExample(
                        id=f"row-{number}",
                        input_ids=question + (tokens(1, 3) if answer else []),
                        continuation_ids=after,
                        label=(number % NUM_LABELS,),
                        reason_end=max(0, len(after) - 2),
                        keyword_ids=tuple(sorted(set(after[3:]))),
                    )
                )
        last = next(row for row in reversed(found) if row.continuation_ids)
        again = last.continuation_ids[:6] + tokens(3, 4)
        found.append(replace(last, id=f"again-{len(found)}", continuation_ids=again, reason_end=len(again) - 2))
    return [*found, EncodedExample(id="stranger", input_ids=tokens(9, 9), continuation_ids=tokens(3, 3), label=(0,))]


def planned(model: DualHeadModel, examples: list[EncodedExample], **options: Any) -> PlannedUpdates:
    pad = model.tokenizer.pad_token_id
    assert isinstance(pad, int)
    return PlannedUpdates(
        **{"batch_size": 8, "gradient_accumulation_steps": 4} | options,
        examples=examples,
        num_labels=NUM_LABELS,
        pad_token_id=pad,
    )


def run_tokens(batches: list[Batch]) -> int:
    return sum((b.input_ids_BT if b.tree is None else b.tree.input_ids_SW).numel() for b in batches)


def check(model: DualHeadModel, examples: list[EncodedExample] | None = None, **options: Any) -> None:
    """One real update either way."""
    updates = planned(model, examples or rows(), **options)
    apart, shared = (next(replace(updates, sharing=sharing).epoch(0)) for sharing in (Sharing(), SHARED))
    assert all(batch.tree is None for batch in apart) and any(batch.tree is not None for batch in shared)
    assert run_tokens(shared) < 0.7 * run_tokens(apart)
    assert sorted(row for batch in shared for row in batch.ids) == sorted(row for batch in apart for row in batch.ids)
    log, expected = gradients_of_step(clone(model), apart)
    other, found = gradients_of_step(model, shared)
    for name in {"loss", "grad_norm", "rationale_share", "num_tokens", *LOG_NAMES.values()} & set(log):
        assert other[name] == pytest.approx(log[name], rel=TOLERANCE), name
    assert difference(found, expected) < TOLERANCE


@pytest.mark.parametrize("targets", ["all", "continuation", "input"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_rows_apart(family: str, targets: Any) -> None:
    check(make_model(family), lm_targets=targets)


LOSSES = get_args(LossName)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_every_loss_by_name(family: str) -> None:
    settings = LossSettings(**{f"{name}_weight": 0.5 + i for i, name in enumerate(LOSSES)})  # type: ignore[arg-type]
    check(make_model(family, loss=settings))


CASES: dict[str, dict[str, Any]] = {
    "lora": {"lora": {"dropout": 0.0}},
    "frozen layers": {"freeze_layers": 1},
    "mean pooling": {"pooling": "mean"},
    "mlp head": {"head": "mlp"},
    "class weights": {"label_loss": LabelLoss(class_weight_C=torch.tensor([0.2, 1.0, 5.0]))},
    "smoothing": {"label_loss": LabelLoss(smoothing=0.2)},
    "multi-label": {"label_loss": LabelLoss(multi_label=True)},
    "no classifier": {"loss": LossSettings(classification_weight=0)},
    "eager attention": {"config": {"attn_implementation": "eager"}},
}


@pytest.mark.parametrize("case", CASES)
def test_cases(case: str) -> None:
    check(make_model(**CASES[case]))


def test_the_pooled_baseline_shares_too() -> None:
    bare = [replace(row, continuation_ids=[], reason_end=0, keyword_ids=()) for row in rows()]
    check(make_model(loss=LossSettings(reasoning_weight=0)), bare)


def test_accumulation_over_micro_batches_by_tokens() -> None:
    model, examples = make_model(), rows()
    apart = next(planned(model, examples).epoch(0))
    log, expected = gradients_of_step(clone(model), apart)
    for sharing in (
        Sharing(max_tokens=90),
        Sharing(pair=1e-4, max_tokens=90),
        Sharing(pair=1e-4, max_tokens=200, pack_rows=True),
        Sharing(pack_rows=True),
    ):
        batches = next(planned(model, examples, sharing=sharing).epoch(0))
        assert len(batches) > (2 if sharing.max_tokens else 0)
        other, found = gradients_of_step(clone(model), batches)
        assert other["loss"] == pytest.approx(log["loss"], rel=TOLERANCE)
        assert difference(found, expected) < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_are_padded_rows(family: str) -> None:
    model, examples = make_model(family), rows(num_paragraphs=1)
    padded, packed = (
        next(planned(model, examples, sharing=sharing).epoch(0)) for sharing in (Sharing(), Sharing(pack_rows=True))
    )
    assert all(batch.tree is not None and bool(batch.tree.place_BT.amax() > 0) for batch in packed)
    (log, expected), (other, found) = gradients_of_step(clone(model), padded), gradients_of_step(model, packed)
    assert other["loss"] == pytest.approx(log["loss"], rel=TOLERANCE)
    assert difference(found, expected) < TOLERANCE


def test_two_processes_with_a_ghost_add_up_to_one() -> None:
    """Both processes' micro-batches, run one after the other, are the update; a ghost adds nothing."""
    model, examples = make_model(), rows(num_paragraphs=1)
    log, expected = gradients_of_step(clone(model), next(planned(model, examples).epoch(0)))
    options = {"batch_size": 4, "gradient_accumulation_steps": 4, "num_processes": 2}
    processes = [
        next(planned(model, examples, sharing=SHARED, process_index=index, **options).epoch(0)) for index in (0, 1)
    ]
    assert len(processes[0]) == len(processes[1])
    ghosts = [b for one in processes for b in one if b.row_weight_B is not None and not b.row_weight_B.any()]
    other, found = gradients_of_step(model, processes[0] + processes[1])
    assert other["loss"] == pytest.approx(log["loss"], rel=TOLERANCE)
    assert difference(found, expected) < TOLERANCE
    assert all(batch.tree is None for batch in ghosts)


def test_gradient_checkpointing_goes_the_dense_way() -> None:
    model, examples = make_model(), rows()
    apart, shared = (next(planned(model, examples, sharing=one).epoch(0)) for one in (Sharing(), SHARED))
    _, expected = gradients_of_step(clone(model), apart)
    _, found = gradients_of_step(model, shared, gradient_checkpointing=True)
    assert difference(found, expected) < TOLERANCE


def test_compiled_layers_attend_in_blocks_too() -> None:
    model, examples = make_model(), rows(num_paragraphs=1)
    apart, shared = (next(planned(model, examples, sharing=one).epoch(0)) for one in (Sharing(), SHARED))
    _, expected = gradients_of_step(clone(model), apart)
    for layer in model.causal_lm.base_model.layers:
        layer.compile(dynamic=True, backend="eager")
    _, found = gradients_of_step(model, shared)
    assert difference(found, expected) < TOLERANCE


def test_targets_that_count_once_would_be_seen() -> None:
    model, examples = make_model(), rows()
    apart, shared = (next(planned(model, examples, sharing=one).epoch(0)) for one in (Sharing(), SHARED))
    _, expected = gradients_of_step(clone(model), apart)

    def once(batch: Batch) -> Batch:
        if batch.tree is None or batch.tree.target_count_N is None:
            return batch
        return replace(batch, tree=replace(batch.tree, target_count_N=torch.ones_like(batch.tree.target_count_N)))

    _, planted = gradients_of_step(model, [once(batch) for batch in shared])
    assert difference(planted, expected) > 100 * TOLERANCE
