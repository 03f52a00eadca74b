"""Write rows of the returns desk as JSONL or CSV: mail, label, true label and a rationale that states the steps.

    python examples/policy_desk/generate.py --rows 300 --seed 1 [--hops 3] [--label-noise 0.25] [--rationale-of true]
        [--split train] [--columns id,input_text,label] [--output FILE]

The same rows without a file: `data.train: policy_desk:rows=300,seed=1,hops=3,noise=0.25` in a config.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dhrd.data.policy_desk import SPLITS, PolicyDesk
from dhrd.errors import DataError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hops", type=int, default=3, help="how many rules interact, 1 to 4")
    parser.add_argument("--label-noise", type=float, default=0.0, help="share of training rows with a random label")
    parser.add_argument(
        "--rationale-of", choices=("true", "given"), default="true", help="label that a rationale is for"
    )
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--columns", help="only these, separated by commas; default: all")
    parser.add_argument("--output", type=Path, help="a .csv file, else JSON lines; default: standard output")
    options = parser.parse_args()
    try:
        desk = PolicyDesk.parse(
            f"rows={options.rows},seed={options.seed},hops={options.hops},noise={options.label_noise},"
            f"rationale_of={options.rationale_of}"
        )
    except DataError as error:
        parser.error(str(error))
    rows = list(desk.generate(options.split))
    if options.columns is not None:
        columns = options.columns.split(",")
        if unknown := [name for name in columns if name not in rows[0]]:
            parser.error(f"--columns: no column {unknown[0]!r}; there are {', '.join(rows[0])}")
        rows = [{name: row[name] for name in columns} for row in rows]
    if options.output is None:
        sys.stdout.write(as_json_lines(rows))
    else:
        written = as_csv(rows) if options.output.suffix == ".csv" else as_json_lines(rows)
        options.output.write_text(written, encoding="utf-8")


def as_json_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    with io.StringIO() as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()


if __name__ == "__main__":
    main()
