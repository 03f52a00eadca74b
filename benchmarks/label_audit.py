"""How many wrong labels the label audit finds first, with one witness and with two (docs/results, "Label audit").

    python benchmarks/label_audit.py [desk desk_given cb] [--seeds 5] [--data ../shared/data] [--output FILE]

Labels are drawn anew for a share of the rows, so that 10 % are wrong. Of the first 10 % of rows, in the audit's order,
the share that is wrong is counted; and in the order of the classifier alone. Folds that are done are kept in
`--kept`, so it may be stopped and goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from paired import interval

from dhrd.config import RunConfig, load_config
from dhrd.data.rows import load_rows
from dhrd.experiments.studies.controlled import BACKBONE
from dhrd.run.audit.labels import CLASSIFIER, AuditedLabel, audit_labels

SHARE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["desk", "desk_given", "cb"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument(
        "--device", default="cpu", help="cb is 25 trainings of SmolLM2: two hours of a core with AMX, four without"
    )
    parser.add_argument("--kept", type=Path, default=Path("docs/results/label_audit"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/label_audit.json"))
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    results = json.loads(given.output.read_text(encoding="utf-8")) if given.output.is_file() else {}
    for case in given.cases:
        configs = [settings(case, seed, given.data) for seed in range(given.seeds)]
        rows = [measure(config, given.kept, given.device) for config in configs]
        results[case] = summary(rows)
        print(json.dumps({case: results[case]}), flush=True)
        given.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def settings(case: str, seed: int, data: str) -> RunConfig:
    """Of one audit: its rows, its noise, its classifier."""
    own = ["loss.reasoning_weight=0", f"seed={seed}"]
    if case == "cb":
        rationales = f"data.rationales={data}/rationales/teacher/cb.jsonl"
        rows = ["data.train=superglue:cb", f"data.superglue_root={data}/superglue", rationales, "data.label_noise=0.15"]
        return load_config("configs/natural.yaml", [*own, *rows, "training.num_epochs=8"])
    desk = f"data.train=policy_desk:rows=800,hops=2,noise=0.1333,seed={seed}"
    if case == "desk_given":
        desk += ",rationale_of=given"
    small = ["data.max_input_tokens=128", "data.max_sequence_tokens=256", "training.learning_rate=3e-3"]
    run = ["training.batch_size=20", "training.mixed_precision=no", "training.num_epochs=12"]
    return load_config(overrides=[*own, desk, f"model.name_or_path={BACKBONE}", *small, *run])


def measure(config: RunConfig, kept: Path, device: str) -> dict[str, float]:
    """Precision among the first 10 % of one audit's rows, in its order and by the classifier alone."""
    true = truth(config)
    audit = audit_labels(config, kept=kept, device=device)
    first = round(SHARE * len(audit.rows))
    alone = sorted(audit.rows, key=by_classifier)

    def precision(rows: Sequence[AuditedLabel]) -> float:
        return sum(row.label != true[row.example.id] for row in rows[:first]) / first

    num_wrong = sum(row.label != true[row.example.id] for row in audit.rows)
    one, two = precision(alone), precision(audit.rows)
    recall = first / num_wrong
    return {
        "rows": len(audit.rows),
        "wrong": num_wrong,
        "precision_one": one,
        "precision_two": two,
        "recall_one": one * recall,
        "recall_two": two * recall,
        "doubted_by_both": audit.num_doubted(2),
    }


def by_classifier(row: AuditedLabel) -> tuple[bool, float]:
    """The audit's order, had it the first witness alone."""
    (statement,) = (statement for statement in row.statements if statement.witness == CLASSIFIER)
    return not statement.doubts, statement.probability


def truth(config: RunConfig) -> dict[str, str]:
    """The true label of each row, by id."""
    clean = config.data.model_copy(update={"label_noise": 0.0})
    rows = load_rows(config.model_copy(update={"data": clean}))
    return {example.id: str(example.fields.get("true_label", example.label)) for example in rows.train}


def summary(rows: Sequence[dict[str, float]]) -> dict[str, object]:
    """Means, and the paired difference with its interval."""
    differences = [row["precision_two"] - row["precision_one"] for row in rows]
    return {"seeds": rows, "difference": interval(differences)}


if __name__ == "__main__":
    main()
