"""Evaluating a model in training with the engine that the artifact will use, and calibrating it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dhrd.data.records import EncodedExample, LabelSet
from dhrd.data.rows import multi_hot
from dhrd.data.superglue import Task
from dhrd.inference.engine.batching import label_probabilities
from dhrd.inference.engine.engine import Engine
from dhrd.inference.engine.options import Options
from dhrd.metrics.calibration import fit_temperature
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from dhrd.model.dual_head import DualHeadModel

if TYPE_CHECKING:
    from accelerate import Accelerator

_MAX_TOKENS_PER_PASS = 16384  # lower than for an artifact, as the optimizer's state takes memory too


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model in training with an engine; reused for all evaluations, since the engine checks exactness once.

    Args:
        model: The unwrapped model; it is evaluated without dropout, then returned to its previous mode.
        engine: An engine over the model's backbone and head.
        accelerator: Determines the precision; None: that of the weights.
        split: Whether each process of the accelerator runs a share of the rows; else this process runs all.
    """

    model: DualHeadModel
    engine: Engine
    accelerator: Accelerator | None = None
    split: bool = False

    @classmethod
    def of(cls, model: DualHeadModel, accelerator: Accelerator | None = None, *, split: bool = False) -> LiveModel:
        """Create one with an engine for the model's device."""
        device = model.causal_lm.device
        max_tokens = min(Options.best(device).max_tokens_per_pass, _MAX_TOKENS_PER_PASS)
        engine = Engine(
            model.causal_lm.base_model,
            model.head,
            pooling=model.settings.pooling,
            pad_token_id=model.tokenizer.pad_token_id,
            options=Options.best(device, max_tokens),
        )
        return cls(model, engine, accelerator, split)

    def evaluate(
        self,
        examples: Sequence[EncodedExample],
        labels: LabelSet,
        *,
        task: Task | None = None,
        intervals: bool = False,
    ) -> dict[str, Any]:
        """Evaluate encoded rows, without their continuations; see `compute_metrics`."""
        return compute_metrics(self.predict(examples, labels), task=task, intervals=intervals)

    def predict(self, examples: Sequence[EncodedExample], labels: LabelSet) -> Outcomes:
        """The model's outcomes on labelled rows."""
        logits_BC = self.logits([example.input_ids for example in examples])
        return Outcomes.of_encoded(examples, label_probabilities(logits_BC, labels), labels)

    def logits(self, input_ids: Sequence[list[int]]) -> np.ndarray:
        """Class logits of all rows, (rows, C) in fp32, in every process that calls it."""
        was_training = self.model.training
        self.model.eval()
        rank, processes = 0, 1
        if self.accelerator is not None and self.split:
            rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        logits_BC = np.empty((len(input_ids), self.model.num_labels), dtype=np.float32)
        own = input_ids[rank::processes]
        with self.accelerator.autocast() if self.accelerator is not None else nullcontext():
            # With fewer rows than processes some have none, and yet take part in the exchange.
            own_BC = self.engine.logits(own).numpy() if own else logits_BC[:0]
        self.model.train(was_training)
        parts: list[Any] = [own_BC] * processes
        if processes > 1:
            torch.distributed.all_gather_object(parts, own_BC)
        for index, part in enumerate(parts):
            logits_BC[index::processes] = part
        return logits_BC


def calibrate_head(live: LiveModel, examples: Sequence[EncodedExample], labels: LabelSet) -> dict[str, float]:
    """Divide a trained head, in place, by a temperature fitted on held-out rows, so that every reader is calibrated.

    With several tasks each has its own temperature, fitted on the rows that have a label of it; 1 if there are none.

    The last layer has no bias, so its logits are divided exactly, and no predicted label changes.

    Args:
        live: The model, whose `head.score.weight` is changed.
        examples: At least one row that the weights were not trained on.
        labels: The label set.

    Returns:
        The temperature by task; a single task has the name "".
    """
    weight = live.model.head.score.weight
    logits_BC = live.logits([example.input_ids for example in examples])
    gold_BC = multi_hot([example.label for example in examples], logits_BC.shape[1])
    temperatures: dict[str, float] = {}
    for number, task in enumerate(labels.slices):
        rows = [row for row, example in enumerate(examples) if number not in example.unlabelled]
        of_task = (values_BC[rows, task.columns] for values_BC in (logits_BC, gold_BC))
        temperature = 1.0
        if rows:
            temperature = fit_temperature(*of_task, multi_label=task.labels.multi_label, task=task.name)
        temperatures[task.name] = temperature
        with torch.no_grad():
            weight[task.columns].div_(temperature)
    return temperatures
