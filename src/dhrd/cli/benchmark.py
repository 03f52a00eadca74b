"""`dhrd benchmark`"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.benchmark.settings import PEERS, WAYS, Settings
from dhrd.cli.options import Artifact, ClassifierOptions, Config, Json, Set, grouped, write_json
from dhrd.errors import ConfigError

if TYPE_CHECKING:
    from dhrd.benchmark.result import BenchmarkResult


@grouped
def benchmark(
    model: Artifact,
    data: Annotated[
        str | None, typer.Option(help="superglue:TASK, hub:NAME, or a file; default: the run's own data.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    limit: Annotated[int, typer.Option(min=1, help="Use only the first N rows.")] = 1000,
    against: Annotated[
        str,
        typer.Option(help=f"Comma-separated: {', '.join(PEERS)}, {', '.join(WAYS)}; none: only dhrd."),
    ] = "pipeline,loop",
    batch_sizes: Annotated[
        str, typer.Option(help="Batch sizes to try for the pipeline, comma-separated.")
    ] = "1,2,4,8,16,32",
    repeats: Annotated[int, typer.Option(min=1, help="Number of rounds; every contender runs once per round.")] = 3,
    warmup_rows: Annotated[int, typer.Option(min=1, help="Untimed warm-up rows per contender.")] = 64,
    latency_rows: Annotated[int, typer.Option(min=1, help="Rows sent one at a time to measure latency.")] = 100,
    cot_rows: Annotated[int, typer.Option(min=1, help="Rows to decode.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="cot: maximum tokens of rationale and answer.")] = 500,
    parity: Annotated[
        bool, typer.Option("--parity", help="Compare the outputs with fp32, with and without prefix sharing.")
    ] = False,
    onnx: Annotated[Path | None, typer.Option(help="Directory written by `dhrd export`, for --against onnx.")] = None,
    json_file: Json = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot to this .svg or .png file.")] = None,
    config: Config = None,
    overrides: Set = None,
    *,
    classifier: ClassifierOptions,
) -> None:
    """Compare a classifier's speed with the alternatives.

    All contenders take turns in one run, on the same rows. The last line of the output is JSON.
    """
    from dhrd._extras import require
    from dhrd._files import talking
    from dhrd._outputs import FIGURE, JSON, Output, check_outputs
    from dhrd.artifact.owned import model_files
    from dhrd.cli.settings import check_inputs, inference_config, read_by
    from dhrd.cli.show import benchmark_table
    from dhrd.run.rows import rows_of

    if plot is not None:
        require("matplotlib", extra="report")
    names, exports = _contenders(against, onnx)
    settings = Settings(
        against=names,
        batch_sizes=_sizes(batch_sizes),
        repeats=repeats,
        warmup_rows=warmup_rows,
        latency_rows=latency_rows,
        cot_rows=cot_rows,
        max_new_tokens=max_new_tokens,
        parity=parity,
        exports=exports,
    )
    settled = inference_config(model, config, overrides)
    check_inputs(model, data, settled, split=split, labels_required=False)
    from dhrd.benchmark.inference import benchmark
    from dhrd.config.published import masked

    inputs = [*read_by(model, settled, data, config), *chain.from_iterable(map(model_files, exports.values()))]
    check_outputs([Output("--json", json_file, JSON), Output("--plot", plot, FIGURE)], inputs)
    examples = rows_of(model, data, split=split, config=settled, limit=limit, labels_required=None)
    result = benchmark(model, examples, settings, say=_say, **asdict(classifier))
    written = {"data": f"{masked(data) if data else 'the run’s own'}, {split}", **result.model_dump(mode="json")}
    _save(result, written, json_file, plot)
    with talking(json_file, plot):
        benchmark_table(result)
        say(json.dumps(written))


def _save(result: BenchmarkResult, written: dict[str, object], json_file: Path | None, plot: Path | None) -> None:
    write_json(json_file, written)
    if plot is not None:
        from dhrd.benchmark.plots import plot as draw

        draw(result, plot)


def _say(text: str) -> None:
    say(f"• {text} …", file=sys.stderr)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _contenders(against: str, onnx: Path | None) -> tuple[list[str], dict[str, Path]]:
    """Parse `--against`: the contenders' names, and the export directory of those given as `openvino=DIR`."""
    named = dict(part.partition("=")[::2] for part in _parts(against) if part != "none")
    places = {name: Path(place).expanduser() for name, place in named.items() if place}
    return list(named), places | ({"onnx": onnx} if onnx else {})


def _sizes(text: str) -> list[int]:
    parts = _parts(text)
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--batch-sizes {text}: give positive integers separated by commas, for example 1,8,32")
    return [int(part) for part in parts]
