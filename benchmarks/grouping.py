"""What `training.group_by_prefix` does to accuracy: rows under a few policies, mixed in updates or kept together.

    python benchmarks/grouping.py [--seeds 3] [--output benchmarks/results/grouping.json]

Rows of the generated returns desk, each after the rules for its kind of goods, as a policy stands before a mail. Kept
together, an update of 20 rows is of one or two kinds of goods. The model is small and starts from random weights, as in
the study `controlled`; DHRD, 1,600 rows, 2 hops, 480 updates. Everything but the order of the rows is equal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from dhrd import load_config, train
from dhrd.data.policy_desk.policy import WINDOW_DAYS
from dhrd.data.sources import open_source
from dhrd.experiments.studies.controlled import BACKBONE, NUM_TRAINED_ROWS

NUM_ROWS = 1600
RULES = (
    "The rules for {kind}. A refund within the {days} days for {kind} if it is unopened, an exchange or a store credit "
    "if it was opened or there is no receipt, and after the {days} days for {kind} we decline. "
)


def rows_of(spec: str) -> list[dict[str, Any]]:
    """The desk's rows, each with the rules for its goods before it."""
    rows = []
    for example in open_source(spec, load_config().data, split="train").load():
        columns = dict(example.columns())
        kind = next(kind for kind in WINDOW_DAYS if kind in str(example.rationale))
        columns["input_text"] = RULES.format(kind=kind, days=WINDOW_DAYS[kind]) + str(columns["input_text"])
        rows.append({**columns, "label": example.label, "rationale": example.rationale, "id": example.id})
    return rows


def accuracy(seed: int, *, grouped: bool, epochs: int) -> float:
    """Of one run, in percent of 1,000 held-out rows."""
    with tempfile.TemporaryDirectory() as directory:
        config = load_config(
            None,
            [
                f"model.name_or_path={BACKBONE}",
                "data.max_input_tokens=160",
                "data.max_sequence_tokens=256",
                "training.learning_rate=3e-3",
                "training.batch_size=20",
                "training.mixed_precision=no",
                f"training.num_epochs={epochs}",
                f"training.group_by_prefix={str(grouped).lower()}",
                f"seed={seed}",
                f"output_dir={directory}/out",
            ],
        )
        result = train(
            config,
            train_dataset=rows_of(f"policy_desk:rows={NUM_ROWS},hops=2,seed={seed}"),
            validation_dataset=rows_of("policy_desk:rows=1000,hops=2,seed=1000003"),
            device="cpu",
        )
    return round(100 * float(result.metrics["accuracy"]), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=NUM_TRAINED_ROWS // NUM_ROWS)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/grouping.json"))
    given = parser.parse_args()
    found: dict[str, list[float]] = {"mixed": [], "grouped": []}
    for seed in range(given.seeds):
        for name in found:
            found[name].append(accuracy(seed, grouped=name == "grouped", epochs=given.epochs))
            print(f"seed {seed}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    differences = [b - a for a, b in zip(found["mixed"], found["grouped"], strict=True)]
    report = {
        "accuracy_percent": found,
        "grouped_minus_mixed_points": {
            "mean": round(statistics.mean(differences), 2),
            "of_each_seed": [round(value, 2) for value in differences],
        },
        "conditions": {"rows": NUM_ROWS, "hops": 2, "held_out": 1000, "epochs": given.epochs, "rows_per_update": 20},
    }
    given.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
