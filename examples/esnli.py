"""Make a data set for `dhrd reproduce` out of e-SNLI rows with a language model's rationales.

    python examples/esnli.py SOURCE.jsonl OUTPUT_DIR [--train 800] [--validation 1000] [--seed 0]

SOURCE has one object a line with `id`, `split` ("valid" or "test"), `premise`, `hypothesis`, `label`, `llm_rationale`
and `llm_correct`. Training rows are drawn from "valid", among those whose rationale argues for the row's label;
validation rows from "test", among all. The two splits share no premise. `configs/esnli.yaml` reads what is written.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--validation", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.source.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(arguments.seed)
    taught = [row for row in rows if row["split"] == "valid" and row["llm_correct"]]
    held_out = [row for row in rows if row["split"] == "test"]
    premises = {row["premise"] for row in held_out}
    taught = [row for row in taught if row["premise"] not in premises]
    for name, pool, size in (("train", taught, arguments.train), ("validation", held_out, arguments.validation)):
        if size > len(pool):
            parser.error(f"--{name} {size}: the source has {len(pool)} such rows")
        write(arguments.output / f"esnli_{name}.jsonl", rng.sample(pool, size))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            kept = {name: row[name] for name in ("id", "premise", "hypothesis", "label")}
            kept |= {"rationale": row["llm_rationale"], "group": row["premise"]}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
    print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main()
