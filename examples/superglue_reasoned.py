"""Keep of SuperGLUE's training rows those that have a rationale, in the official layout.

    python examples/superglue_reasoned.py SUPERGLUE_DIR RATIONALES_DIR OUTPUT_DIR [--tasks boolq,multirc,wic]

RATIONALES_DIR has a `TASK.jsonl` a task, one object a line with an `id` such as "wic-train-17". The held-out rows
are copied whole. So arms with and without rationales learn from the same rows: `configs/natural.yaml` with
`data.superglue_root=OUTPUT_DIR`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from dhrd.data.superglue import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("superglue", type=Path)
    parser.add_argument("rationales", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--tasks", default="boolq,multirc,wic")
    arguments = parser.parse_args()
    for task in arguments.tasks.split(","):
        if task not in TASKS:
            parser.error(f"--tasks {task}: unknown; give of {', '.join(TASKS)}")
        source, output = arguments.superglue / TASKS[task].folder, arguments.output / TASKS[task].folder
        reasoned = {row["id"] for row in read(arguments.rationales / f"{task}.jsonl")}
        keep = keep_answers if task == "multirc" else keep_row
        kept = [row for row in read(source / "train.jsonl") if keep(row, task, reasoned)]
        output.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "val.jsonl", output / "val.jsonl")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        (output / "train.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{output / 'train.jsonl'}: {len(kept)} {'paragraphs' if task == 'multirc' else 'rows'}")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def keep_row(row: dict[str, Any], task: str, reasoned: set[str]) -> bool:
    return f"{task}-train-{row['idx']}" in reasoned


def keep_answers(paragraph: dict[str, Any], task: str, reasoned: set[str]) -> bool:
    """Whether a paragraph of MultiRC has an answer with a rationale; the other answers, and questions, leave it."""
    for question in paragraph["passage"]["questions"]:
        start = f"{task}-train-{paragraph['idx']}-{question['idx']}"
        question["answers"] = [each for each in question["answers"] if f"{start}-{each['idx']}" in reasoned]
    questions = [question for question in paragraph["passage"]["questions"] if question["answers"]]
    paragraph["passage"]["questions"] = questions
    return bool(questions)


if __name__ == "__main__":
    main()
