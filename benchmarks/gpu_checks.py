"""What must hold on a device: each check is one figure and the most that it may be. `gpu.py` runs them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.write import save_artifact
from dhrd.config import LossSettings, ModelSettings, RunConfig, load_config
from dhrd.data.batches import PlannedUpdates
from dhrd.data.collate import collate
from dhrd.data.records import IGNORE, Batch, EncodedExample, Example, LabelSet
from dhrd.inference.classifier import Classifier
from dhrd.model.adapters import blocks
from dhrd.model.backbone import Backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.frozen import FrozenUpdates
from dhrd.training.setup import make_accelerator, make_train_state
from dhrd.training.step import train_step

LABELS = LabelSet(("keep", "return", "repair"))
EXACT = 1e-3  # of fp32 in 30 layers, sums in another order; what is wrong is off by far more
INSTRUCTION = (
    "You read mail to a desk for returns. Say what is to be done with the item, by the policy of the shop. " * 4
)
NUM_SHARING = 256
_MAX_SKIPPED = 12

Gradients = dict[str, Tensor]


def text_rows(count: int) -> list[Example]:
    """Rows of 20 to some 200 words with a rationale, the same each time."""
    items = ("kettle", "lamp", "pair of boots", "phone", "tent", "chair", "camera")
    rows = []
    for number in range(count):
        item, days = items[number % 7], 3 + number * 11 % 90
        more = f"I have written about the {item} before, in message {number}, and got no answer. " * (number * 5 % 12)
        text = f"Order {1000 + number}: the {item} came {days} days ago and does not work as it should. {more}"
        reason = f"The {item} is {days} days old, the window is 30 days, so it is {'in' if days <= 30 else 'over'} it."
        label = LABELS.names[1 if days <= 30 else 2 * (number % 2)]
        rows.append(Example(id=str(number), input_text=text, label=label, rationale=reason))
    return rows


def encoded_rows(backbone: Backbone, count: int, *, longest: int = 160) -> list[EncodedExample]:
    """The same as tokens."""
    tokens = lambda text: backbone.tokenizer(text)["input_ids"][:longest]  # noqa: E731
    return [
        EncodedExample(
            id=row.id,
            input_ids=tokens(row.input_text),
            continuation_ids=tokens(f"\n\nReasoning: {row.rationale}\nAnswer: {row.label}"),
            label=LABELS.encode(str(row.label)),
        )
        for row in text_rows(count)
    ]


def make_config(mixed_precision: str = "no") -> RunConfig:
    """No clipping, so gradients are as they are, and rates at which no weight moves."""
    training = {"mixed_precision": mixed_precision, "schedule": "constant", "warmup_share": 0.0, "clip_norm": None}
    training |= {"learning_rate": 1e-30, "head_learning_rate": 1e-30}
    return load_config(model__dropout=0.0, **{f"training__{name}": value for name, value in training.items()})


@dataclass
class Bench:
    """A model on a device, and rows.

    Args:
        backbone: On the CPU, in fp32.
        device: As `--device`.
        directory: For an artifact.
    """

    backbone: Backbone
    device: str | None
    directory: Path

    @cached_property
    def model(self) -> DualHeadModel:
        """In fp32, on the device."""
        return self.new_model().to(make_accelerator(make_config(), self.device).device)

    @cached_property
    def rows(self) -> list[EncodedExample]:
        """Eight rows."""
        return encoded_rows(self.backbone, 8)

    def new_model(self, loss: LossSettings | None = None, *, freeze_layers: int = 0) -> DualHeadModel:
        settings = ModelSettings(dropout=0.0, freeze_layers=freeze_layers)
        copied = replace(self.backbone, model=copy.deepcopy(self.backbone.model))
        return DualHeadModel(num_labels=len(LABELS), settings=settings, loss=loss, backbone=copied)

    def batch(self, rows: Sequence[EncodedExample], **options: Any) -> Batch:
        pad = self.backbone.tokenizer.pad_token_id
        return collate(rows, pad_token_id=pad, num_labels=len(LABELS), **options).to(self.model.causal_lm.device)

    def gradients(self, batches: Sequence[Batch], mixed_precision: str = "no") -> tuple[dict[str, float], Gradients]:
        """What a real update logs and hands to its optimizer; the weights stay as they are."""
        config = make_config(mixed_precision)
        accelerator = make_accelerator(config, self.device)
        model = self.model if mixed_precision == "no" else self.new_model()
        state = make_train_state(model, config, accelerator, 10)
        optimizer = getattr(state.optimizer, "optimizer", state.optimizer)  # inside accelerate's, with a scaler
        found: Gradients = {}

        def keep(*_: Any) -> None:
            found.update({n: p.grad.float().clone() for n, p in model.named_parameters() if p.grad is not None})

        handle = optimizer.register_step_pre_hook(keep)
        # fp16's scaler skips updates until its scale fits; a fused optimizer is called then, too, and skips by itself
        for step in range(1, _MAX_SKIPPED + 1):
            log = train_step(state, batches, step)
            if found and finite(found):
                break
        handle.remove()
        return log, found

    def inputs(self, rows: Sequence[EncodedExample]) -> Batch:
        return self.batch([replace(row, continuation_ids=[]) for row in rows])

    @cached_property
    def artifact(self) -> Path:
        """The model as it is saved, with an instruction before every row."""
        info = ArtifactInfo(
            kind="sequence_classifier",
            labels=LABELS,
            input_template=INSTRUCTION + "{{ input_text }}",
            max_input_tokens=768,
        )
        save_artifact(self.directory, self.model, info, card="", run={})
        return self.directory


def finite(gradients: Gradients) -> bool:
    return all(bool(one.isfinite().all()) for one in gradients.values())


def apart(ours: Gradients, theirs: Gradients) -> float:
    """Norm of the difference over the norm."""
    assert ours.keys() == theirs.keys()
    difference = sum(float((ours[name] - theirs[name]).pow(2).sum()) for name in theirs)
    return (difference / sum(float(one.pow(2).sum()) for one in theirs.values())) ** 0.5


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest element."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def stock_labels(batch: Batch) -> Tensor:
    return batch.input_ids_BT.masked_fill(~batch.attention_mask_BT, IGNORE)


def one_pass_is_two(bench: Bench) -> float:
    """Gradients of our step against the stock causal model over sequences and its body over inputs alone."""
    model, whole, inputs = bench.model, bench.batch(bench.rows), bench.inputs(bench.rows)
    stock = model.causal_lm(
        input_ids=whole.input_ids_BT, attention_mask=whole.attention_mask_BT.long(), labels=stock_labels(whole)
    )
    hidden = model.causal_lm.base_model(
        input_ids=inputs.input_ids_BT, attention_mask=inputs.attention_mask_BT.long()
    ).last_hidden_state
    pooled = hidden[torch.arange(len(hidden)), inputs.pool_index_B]
    assert inputs.label_BC is not None
    (stock.loss + torch.nn.functional.cross_entropy(model.head(pooled), inputs.label_BC)).backward()
    theirs = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return apart(bench.gradients([whole])[1], theirs)


def splits(bench: Bench) -> float:
    """1 batch of 8 against 8 batches of 1."""
    alone = [bench.batch([row]) for row in bench.rows]
    return apart(bench.gradients(alone)[1], bench.gradients([bench.batch(bench.rows)])[1])


def no_leak(bench: Bench) -> float:
    """d class logits / d rationale: exactly 0, where that by the input is not."""
    batch, seen = bench.batch(bench.rows), []

    def keep(_module: Any, _given: Any, embedded: Tensor) -> Tensor:
        seen.append(embedded.detach().requires_grad_())
        return seen[-1]

    handle = bench.model.causal_lm.get_input_embeddings().register_forward_hook(keep)
    bench.model(batch).logits_BC.sum().backward()
    handle.remove()
    bench.model.zero_grad(set_to_none=True)
    size_BT = seen[0].grad.abs().amax(-1)
    after_BT = torch.arange(size_BT.shape[1], device=size_BT.device) > batch.pool_index_B[:, None]
    assert float(size_BT[~after_BT].max()) > 0
    return float(size_BT[after_BT].max())


def lm_loss(bench: Bench) -> float:
    """Ours, which holds no N x V logits, against the stock `ForCausalLM` loss."""
    batch = bench.batch(bench.rows)
    with torch.no_grad():
        ours = bench.model(batch).losses["reasoning"] / bench.model.loss_counts(batch)["reasoning"]
        stock = bench.model.causal_lm(
            input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT.long(), labels=stock_labels(batch)
        ).loss
    return abs(float(ours) / float(stock) - 1)


def shared_prefixes(bench: Bench) -> float:
    """Probabilities of rows that share an instruction against those of the same rows run whole."""
    load = lambda share: Classifier.from_pretrained(  # noqa: E731
        bench.artifact, device=bench.device, dtype="float32", share_prefixes=share
    )
    shared, whole = load(True), load(False)
    # Share, whether it pays or not: in a tiny model attention costs as much as all else.
    shared.engine.options = replace(shared.engine.options, pass_overhead_tokens=1)
    shared.engine.cost = replace(shared.engine.cost, flops_per_pair=0)
    texts = [row.input_text for row in text_rows(NUM_SHARING)]
    difference = float(abs(shared.predict_proba(texts) - whole.predict_proba(texts)).max())
    assert shared.engine.work.sharing_ratio > 1.2, "nothing was shared"
    return difference


def artifact(bench: Bench) -> float:
    """Class logits of transformers' own class over what was saved against the model's in memory."""
    inputs = bench.inputs(bench.rows)
    stock = AutoModelForSequenceClassification.from_pretrained(bench.artifact, dtype=torch.float32)
    with torch.no_grad():
        given = {"input_ids": inputs.input_ids_BT, "attention_mask": inputs.attention_mask_BT.long()}
        theirs = stock.eval().to(inputs.input_ids_BT.device)(**given).logits
        return relative(bench.model(inputs).logits_BC, theirs)


def cached_frozen(bench: Bench) -> float:
    """Class logits from the kept states of frozen layers, where this device keeps them, against a whole pass's."""
    accelerator, num_layers = make_accelerator(make_config(), bench.device), len(blocks(bench.model.causal_lm))
    model = bench.new_model(freeze_layers=max(1, num_layers // 2)).to(accelerator.device).eval()
    pad = bench.backbone.tokenizer.pad_token_id
    plan = PlannedUpdates(examples=bench.rows, num_labels=len(LABELS), pad_token_id=pad)
    updates = FrozenUpdates(updates=plan, model=model, accelerator=accelerator)
    differences = []
    for whole, from_kept in zip(plan.epoch(0), updates.epoch(0), strict=True):
        with torch.no_grad():
            ours, theirs = (model(batches[0].to(accelerator.device)).logits_BC for batches in (from_kept, whole))
        differences.append(relative(ours, theirs))
    return max(differences)


def half(mixed_precision: str) -> Callable[[Bench], float]:
    def run(bench: Bench) -> float:
        batch = bench.batch(bench.rows)
        log, found = bench.gradients([batch], mixed_precision)
        exact, expected = bench.gradients([batch])
        assert found and finite(found), f"no update with finite gradients in {_MAX_SKIPPED}"
        assert abs(log["loss"] / exact["loss"] - 1) < 0.02, f"the loss is {log['loss']}, in fp32 {exact['loss']}"
        return apart(found, expected)

    run.__doc__ = f"Gradients of a {mixed_precision} step against those in fp32, all finite; the loss within 2 %."
    return run


FP16 = "an fp16 step"
CHECKS: dict[str, tuple[Callable[[Bench], float], float]] = {
    "one pass is two passes": (one_pass_is_two, EXACT),
    "1 x 8 is 8 x 1": (splits, EXACT),
    "class logits see no rationale": (no_leak, 0.0),
    "LM loss is the stock one": (lm_loss, EXACT),
    "shared prefixes give the same": (shared_prefixes, EXACT),
    "the artifact is the model": (artifact, EXACT),
    "kept states are a whole pass": (cached_frozen, EXACT),
    "a bf16 step": (half("bf16"), 0.15),
    FP16: (half("fp16"), 0.05),
}


def run_checks(bench: Bench, deadline_s: float) -> Iterator[dict[str, Any]]:
    """Each check in turn; one that fails leaves the others to run, and none is begun after the deadline."""
    bench.model.eval()
    on_gpu = bench.model.causal_lm.device.type == "cuda"
    for name, (check, limit) in CHECKS.items():
        began = time.monotonic()
        if began > deadline_s or (name == FP16 and not on_gpu):
            yield {"check": name, "ok": None, "error": "needs a GPU" if began <= deadline_s else "no time left"}
            continue
        try:
            figure, error = check(bench), None
        except Exception as raised:  # whatever goes wrong on a machine that nobody has seen is a finding
            figure, error = float("nan"), f"{type(raised).__name__}: {' '.join(str(raised).split())[:300]}"
        taken_s = round(time.monotonic() - began, 2)
        found = {"figure": figure if figure == figure else None, "limit": limit, "ok": figure <= limit}
        yield {"check": name, **found, "seconds": taken_s, "error": error, "what": check.__doc__}
