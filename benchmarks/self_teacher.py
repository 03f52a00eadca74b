"""Whether a model that writes its own rationales gains by them (docs/results/self.md).

    python benchmarks/self_teacher.py [--first-seed 5] [--seeds 5] [--kept data/self_teacher] [--output FILE]

A quarter of the rows have a rationale of the program that made them. Cells that are done are kept in `--kept`, so it
may be stopped and goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paired import compared, done

from dhrd.config import RunConfig, load_config
from dhrd.data.rationales import join_rationales
from dhrd.data.records import Example
from dhrd.data.rows import load_rows
from dhrd.data.sources import open_source
from dhrd.experiments.studies.controlled import BACKBONE
from dhrd.rationales.generate import generate_rationales
from dhrd.rationales.output import Written
from dhrd.run.evaluate import evaluate
from dhrd.run.rows import as_source
from dhrd.run.train import train

Cell = dict[str, float]

NUM_ROWS, NOISE, NUM_HELD_OUT = 1600, 0.25, 1000
SHARE = 0.25
LEARNING = ("loss.classification_weight=0.2", "loss.privileged_weight=1", "loss.keyword_weight=1")
"""What gained most from rationales on these rows (docs/results, round 2)."""
ARMS: dict[str, tuple[str, ...]] = {
    "none": ("loss.reasoning_weight=0",),
    "quarter": (*LEARNING, f"data.rationale_share={SHARE}"),
    "self": LEARNING,
    "self_shuffled": LEARNING,
    "all": LEARNING,
}
"""In the order in which they are measured: the model of `quarter` writes the rationales of the two after it."""
COMPARED = (
    *(("self", "self_shuffled"), ("self", "none"), ("self", "quarter"), ("self_shuffled", "none")),
    *(("self_shuffled", "quarter"), ("all", "self"), ("quarter", "none")),
)
"""Arm minus arm."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=5)
    parser.add_argument("--kept", type=Path, default=Path("data/self_teacher"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/self_teacher_third.json"))
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    cells = {arm: [cell(arm, seed, given.kept / str(seed)) for seed in seeds] for arm in ARMS}
    result = {"seeds": len(cells["self"])} | compared(cells, COMPARED, ("accuracy", "log_loss"))
    given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def cell(arm: str, seed: int, kept: Path) -> Cell:
    """The numbers of an arm at a seed, from the file of an earlier run or measured now."""
    kept.mkdir(parents=True, exist_ok=True)
    found: Cell = done(kept / f"{arm}.json", lambda: measure(arm, seed, kept))
    print(arm, seed, found, flush=True)
    return found


def measure(arm: str, seed: int, kept: Path) -> Cell:
    """Train an arm; accuracy and log loss on held-out rows that chose nothing, and minutes of processor time."""
    shutil.rmtree(kept / arm, ignore_errors=True)  # of a run that was stopped, whose time is not known
    began = time.process_time()
    config = settings(arm, seed, kept / arm)
    found: Cell = {}
    if arm.startswith("self"):
        found = train_on_own(config, settings("quarter", seed, kept / "quarter"), shuffled=arm == "self_shuffled")
    else:
        train(config, device="cpu")
    minutes = (time.process_time() - began) / 60
    metrics = evaluate(config.output_dir, f"policy_desk:rows={NUM_HELD_OUT},hops=2", device="cpu").metrics
    return {"accuracy": metrics["accuracy"], "log_loss": metrics["log_loss"], "minutes": minutes, **found}


def train_on_own(config: RunConfig, teacher: RunConfig, *, shuffled: bool) -> Cell:
    """Train on the teacher's rows with the rationales that it writes for those that have none; what it wrote."""
    rows, like = load_rows(teacher), open_source(teacher.data.train, teacher.data)
    missing = [example for example in rows.train if not example.rationale]
    asked = teacher.model_copy(
        update={"teacher": teacher.teacher.model_copy(update={"name": f"self:{teacher.output_dir}"})}
    )
    output = Path(teacher.output_dir).with_name("own.jsonl")  # what is in its store is not asked again
    written = generate_rationales(asked, as_source(missing, rows.labels, like=like), output, device="cpu")
    own = [example for example in join_rationales(missing, output) if example.rationale]
    found = {example.id: example for example in (exchanged(own, config.seed) if shuffled else own)}
    taught = [found.get(example.id, example) for example in rows.train]
    train(config, train_dataset=as_source(taught, rows.labels, like=like), device="cpu")
    return shares(written, len(rows.train))


def exchanged(examples: Sequence[Example], seed: int) -> list[Example]:
    """The rows, each with the rationale of another of them."""
    order = list(examples)
    random.Random(seed).shuffle(order)
    return [
        replace(example, rationale=donor.rationale)
        for example, donor in zip(order, [*order[1:], order[0]], strict=True)
    ]


def settings(arm: str, seed: int, output: Path) -> RunConfig:
    """Of an arm: the small model from random weights, 480 updates of 20 rows; other held-out rows choose the round."""
    return load_config(
        overrides=[
            *(f"model.name_or_path={BACKBONE}", f"output_dir={output}", f"seed={seed}"),
            f"data.train=policy_desk:rows={NUM_ROWS},hops=2,noise={NOISE},seed={seed}",
            "data.validation=policy_desk:rows=500,hops=2,seed=50",
            *("data.max_input_tokens=128", "data.max_sequence_tokens=256", "training.learning_rate=3e-3"),
            *("training.batch_size=20", "training.mixed_precision=no", f"training.num_epochs={9600 // NUM_ROWS}"),
            *("teacher.label_hidden=true", "teacher.samples=2", "teacher.max_tokens=80", "teacher.batch_size=64"),
            *ARMS[arm],
        ]
    )


def shares(written: Written, num_rows: int) -> Cell:
    """The share of the rows that was asked about; of these with an own rationale whose answer was the label, with one
    that was told the label, and with none."""
    num_told, num_asked = written.noted["label_given"], written.num_rows
    return {
        "asked_share": num_asked / num_rows,
        "own_answer_share": (written.num_rationales - num_told) / num_asked,
        "told_share": num_told / num_asked,
        "rejected_share": written.rejected.total() / num_asked,
    }


if __name__ == "__main__":
    main()
