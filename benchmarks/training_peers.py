"""Time of a training step against what one would write over transformers' `Trainer`; ratios in one run.

    python benchmarks/training_peers.py [--rounds 7] [--output benchmarks/results/training_peers.json]

All on the backbone, the rows, the batch and the dtype of `training.py`: SmolLM2-135M, 8 rows of about 100 tokens of
input and 60 of continuation, bf16 autocast, fp32 weights, fused AdamW, clipped at norm 1, a constant rate, padded to
the longest row.

    pooled            `reasoning_weight: 0` through our step
    trainer_pooled    `Trainer` on `AutoModelForSequenceClassification`
    dhrd              one pass for both losses, our step
    trainer_two_pass  the same two losses over `Trainer`: a pass on the inputs for L_cls, a pass on the sequences, whose
                      LM logits are transformers' own, for L_lm

A step is all from one batch to the next: collating, both passes, clipping, the update. What to expect, by counting
matrix products: `training.py` says 0.67 for one pass against two; pooled against `Trainer` 1, were there nothing else.

Each variant has a process of its own, as a user's run has, and they take turns, step by step.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training import BATCH_SIZE, NUM_LABELS, SETTINGS, inputs_alone, rows, save_backbone, write
from training_step import KINDS, Clocks, answer, clocks, conditions, measure, medians, say_seconds, spread_of
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainingArguments,
)

from dhrd.config import LossSettings, ModelSettings, RunConfig
from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import IGNORE, EncodedExample
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.setup import make_accelerator, make_train_state
from dhrd.training.step import train_step

PEERS = {"pooled": "trainer_pooled", "dhrd": "trainer_two_pass"}
MOST_STEPS = 10_000


def work_ours(name: str, directory: Path) -> None:
    """Our step, once for each line on stdin."""
    loss = LossSettings(reasoning_weight=float(name == "dhrd"))
    config = RunConfig(model=ModelSettings(name_or_path=str(directory)), loss=loss, training=SETTINGS)
    backbone = load_backbone(config.model)
    accelerator = make_accelerator(config, "cpu")
    model = DualHeadModel(num_labels=NUM_LABELS, settings=config.model, loss=loss, backbone=backbone)
    updates = PlannedUpdates(
        examples=rows() if name == "dhrd" else inputs_alone(rows()),
        num_labels=NUM_LABELS,
        pad_token_id=backbone.tokenizer.pad_token_id,
        batch_size=BATCH_SIZE,
    )
    state = make_train_state(model, config, accelerator, MOST_STEPS)
    answer(lambda: train_step(state, next(updates.epoch(0)), 1))


class TwoPass(nn.Module):
    """DHRD as two passes over stock parts: what one would write without this library."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.causal_lm = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        self.head = nn.Linear(self.causal_lm.config.hidden_size, NUM_LABELS, bias=False)

    def forward(self, inputs: dict[str, Tensor], sequences: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The sum of both losses, as `Trainer` takes it."""
        hidden = self.causal_lm.model(**inputs, use_cache=False).last_hidden_state
        last = inputs["attention_mask"].sum(1) - 1
        classification = F.cross_entropy(self.head(hidden[torch.arange(len(last)), last]).float(), labels)
        reasoning = self.causal_lm(**sequences, use_cache=False).loss
        return {"loss": classification + reasoning}


def padded(sequences: Sequence[list[int]], pad_token_id: int) -> dict[str, Tensor]:
    """Token ids and mask, padded on the right to the longest."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sequences], batch_first=True, padding_value=pad_token_id)
    lengths = torch.tensor([len(s) for s in sequences])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


def collate_inputs(examples: Sequence[EncodedExample], pad_token_id: int) -> dict[str, Any]:
    """A batch of `AutoModelForSequenceClassification`."""
    labels = torch.tensor([e.label[0] for e in examples])
    return {**padded([e.input_ids for e in examples], pad_token_id), "labels": labels}


def collate_both(examples: Sequence[EncodedExample], pad_token_id: int) -> dict[str, Any]:
    """A batch of `TwoPass`."""
    inputs = padded([e.input_ids for e in examples], pad_token_id)
    sequences = padded([e.input_ids + e.continuation_ids for e in examples], pad_token_id)
    sequences["labels"] = sequences["input_ids"].masked_fill(sequences["attention_mask"] == 0, IGNORE)
    return {"inputs": inputs, "sequences": sequences, "labels": torch.tensor([e.label[0] for e in examples])}


class StepByStep(TrainerCallback):
    """Runs `Trainer` a step for each line on stdin, as `training_step.answer` runs a function."""

    def __init__(self) -> None:
        self.began: Clocks | None = None

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """Tell the step's seconds, wait for the next line."""
        if self.began is not None:
            say_seconds(self.began)
        elif state.global_step > 1:  # two steps warm up
            print("ready", flush=True)
        else:
            return
        control.should_training_stop = not sys.stdin.readline()
        self.began = clocks()


def work_trainer(name: str, directory: Path) -> None:
    """`Trainer`, a step for each line on stdin."""
    if name == "trainer_two_pass":
        model, collate = TwoPass(directory), collate_both
        pad = model.causal_lm.config.pad_token_id
    else:
        model = AutoModelForSequenceClassification.from_pretrained(
            directory, num_labels=NUM_LABELS, dtype=torch.float32
        )
        collate, pad = collate_inputs, model.config.pad_token_id
    with tempfile.TemporaryDirectory() as nowhere:
        arguments = TrainingArguments(
            nowhere,
            max_steps=MOST_STEPS,
            per_device_train_batch_size=BATCH_SIZE,
            train_sampling_strategy="sequential",
            bf16=True,
            use_cpu=True,
            optim="adamw_torch_fused",
            learning_rate=SETTINGS.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=1.0,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        Trainer(
            model,
            arguments,
            data_collator=lambda examples: collate(examples, pad),
            train_dataset=rows() * MOST_STEPS,  # type: ignore[arg-type]
            callbacks=[StepByStep()],
        ).train()


def compare(ours: str, command: list[str], rounds: int) -> dict[str, Any]:
    """Ours over theirs, absolute figures, conditions."""
    theirs = PEERS[ours]
    seconds = measure([ours, theirs], command, rounds)
    pairs = list(zip(seconds[ours], seconds[theirs], strict=True))
    return {
        "time_ratio": {kind: spread_of(a[index] / b[index] for a, b in pairs) for index, kind in enumerate(KINDS)},
        "rounds": rounds,
        "median_step_seconds": medians(seconds),
        "conditions": conditions(rows()) | {"mixed_precision": SETTINGS.mixed_precision},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=PEERS, help="this pair alone; the other stays as the file has it")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/training_peers.json"))
    parser.add_argument("--cache", type=Path, default=Path("build/smollm2"), help="where the backbone is unpacked")
    parser.add_argument("--worker", choices=[*PEERS, *PEERS.values()], help=argparse.SUPPRESS)
    given = parser.parse_args()
    directory = save_backbone(given.cache)
    if given.worker:
        (work_ours if given.worker in PEERS else work_trainer)(given.worker, directory)
        return
    command = [sys.executable, __file__, "--cache", str(directory)]
    found = json.loads(given.output.read_text()) if given.only and given.output.is_file() else {}
    for ours in [given.only] if given.only else PEERS:
        found[f"{ours}/{PEERS[ours]}"] = compare(ours, command, given.rounds)
    write(found, given.output)


if __name__ == "__main__":
    main()
