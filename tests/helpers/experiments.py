"""Studies of tiny random models: what `dhrd reproduce` is asked for in tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.experiments import STUDIES
from dhrd.experiments.agenda import read_agenda
from dhrd.experiments.asked import find_arms, find_tasks
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellData, CellResult
from dhrd.experiments.cells import Cell, CellDecoding
from dhrd.experiments.plan import Request, final_cells
from dhrd.experiments.run_cell import run_cell
from dhrd.experiments.schedule import Progress, look_at
from dhrd.metrics.outcomes import Outcomes
from helpers.runs import flags, settings, write_rows

_LABELS = LabelSet(("keep", "return"))
DECODING = CellDecoding(max_new_tokens=12, temperature=0.0, top_p=1.0, batch_size=4, limit=6)


def make_request(
    backbone: Path,
    directory: Path,
    *overrides: str,
    study: str = "main",
    num_seeds: int = 1,
    arms: tuple[str, ...] | None = None,
    num_train: int = 20,
    **more: Any,
) -> Request:
    """A request over the files of `write_rows(directory)`; its cells and report go to `directory/out`."""
    write_rows(directory, num_train=num_train)
    base = load_config(overrides=settings(backbone, directory, "training.num_epochs=1", *overrides))
    return Request(
        study=STUDIES[study],
        base=base,
        tasks=find_tasks(base, None),
        backbones=(base.model.name_or_path,),
        num_seeds=num_seeds,
        arms=find_arms(STUDIES[study], arms),
        decoding=more.pop("decoding", DECODING),
        output_dir=directory / "out",
        **more,
    )


def cell_result(**metrics: float) -> CellResult:
    """A finished cell of one row, with these metrics."""
    hot_BC = np.eye(2, dtype=np.int64)[:1]
    return CellResult(
        metrics=metrics,
        outcomes=Outcomes(ids=["r0"], gold_BC=hot_BC, predicted_BC=hot_BC, labels=_LABELS),
        selected_on=False,
        data=CellData(num_train=1, num_with_rationale=1),
        curve=[],
        steps=1,
        train_tokens=1,
        seconds={"total": 1.0},
        device="cpu",
        precision="no",
        threads=1,
        versions={},
    )


def cells(request: Request) -> list[Cell]:
    """The table's cells."""
    return final_cells(request, Cache("cpu"), {})


def cell(request: Request) -> Cell:
    """The first of them."""
    return cells(request)[0]


def performed(request: Request) -> dict[str, Any]:
    """What running the first cell gives, as it comes back from a file."""
    result = run_cell(cell(request), Cache("cpu"))
    return json.loads(json.dumps(result.model_dump()))


def write_plan(directory: Path, backbone: object, *entries: dict[str, Any]) -> Path:
    """A plan over the rows of `write_rows`, which lie in the folder that `{data}` stands for."""
    write_rows(directory)
    places = ["data.train={data}/train.jsonl", "data.validation={data}/validation.jsonl"]
    given = settings(Path(str(backbone)), directory, "training.num_epochs=1")
    common = {"study": "main", "seeds": 1, "output": str(directory / "out")}
    common["set"] = [one for one in given if not one.startswith(("data.", "output_dir"))] + places
    plan = {"entries": [{**common, "name": f"entry {number}", **entry} for number, entry in enumerate(entries)]}
    path = directory / "plan.yaml"
    path.write_text(json.dumps(plan), encoding="utf-8")  # JSON is YAML
    return path


def look(path: Path, *, device: str | None = "cpu", places: dict[str, str] | None = None) -> Progress:
    """How far the entries of a plan are."""
    return look_at(read_agenda(path).entries, path.parent, Cache(device, places))


def command(backbone: Path, directory: Path, *more: str, overrides: tuple[str, ...] = ()) -> list[str]:
    """`reproduce main` over the files of `write_rows(directory)`; its cells and report go to `directory/rep`."""
    write_rows(directory)
    given = flags(settings(backbone, directory, "training.num_epochs=1", *overrides))
    return ["reproduce", "main", *given, "--output", str(directory / "rep"), "--device", "cpu", *more]
