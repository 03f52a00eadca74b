"""`dhrd predict`"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.options import Artifact, ClassifierOptions, Config, Json, Set, Strict, grouped, write_json
from dhrd.errors import ConfigError

if TYPE_CHECKING:
    from dhrd.run.predict.predict import Predicted


@grouped
def predict(
    model: Artifact,
    input_file: Annotated[
        str,
        typer.Option(
            "--input", help="Rows: a file, a directory, a glob pattern, - for JSON lines on stdin, or as data.train."
        ),
    ],
    output: Annotated[
        str, typer.Option(help="A .jsonl, .jsonl.gz, .csv or .parquet file, a directory/ for parts, or - for stdout.")
    ],
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="COLUMN", help="Copy an input column to the output; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where an interrupted run of the same command stopped.")
    ] = False,
    on_error: Annotated[
        str, typer.Option(help="On a bad row: stop, or skip it and list it in OUTPUT.errors.jsonl.")
    ] = "stop",
    engine: Annotated[
        str,
        typer.Option(help="plain: this process; ray: the workers of a Ray cluster, which write a directory/ of parts."),
    ] = "plain",
    num_workers: Annotated[
        int | None, typer.Option(help="ray: number of workers; default: one per GPU or, without GPUs, one per machine.")
    ] = None,
    config: Config = None,
    overrides: Set = None,
    strict: Strict = False,
    json_file: Json = None,
    *,
    classifier: ClassifierOptions,
) -> None:
    """Label rows, keeping their order.

    Each row gets `id`, `label` and the probability of each label; the label is empty where the artifact's decision
    abstains. A cluster writes parts whose names sort in the order of the rows.
    """
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.cli.settings import check_inputs, inference_config, read_by
    from dhrd.data.remote import is_url
    from dhrd.run.predict.journal import LongJob
    from dhrd.run.predict.sinks import outputs_of

    job = LongJob(keep=tuple(keep or ()), resume=resume, on_error=on_error)  # type: ignore[arg-type]  # checked there
    on_cluster = _is_cluster(engine, num_workers)
    settings = inference_config(model, config, overrides)
    if not (on_cluster and is_url(output)):
        outputs = [*outputs_of("--output", output), Output("--json", json_file, JSON)]
        check_outputs(outputs, read_by(model, settings, input_file, config))
    looked_at = input_file if on_error == "stop" and not on_cluster else None
    check_inputs(model, looked_at, settings, split="test", labels_required=False)
    from dhrd.run.predict import predict as run
    from dhrd.run.ray.predict import predict_by_ray

    predict_to = partial(predict_by_ray, num_workers=num_workers) if on_cluster else run.predict_to
    done = predict_to(
        output,
        model,
        input_file,
        job=job,
        config=settings,
        strict=strict,
        **asdict(classifier),
    )
    write_json(json_file, {"output": output, **asdict(done)})
    with talking(Path(output), json_file):
        say(f"{done.num_rows} rows are in {output}{_more(output, done)}")


def _is_cluster(engine: str, num_workers: int | None) -> bool:
    if engine not in ("plain", "ray"):
        raise ConfigError(f"`engine={engine}`: unknown; give plain or ray")
    if num_workers is not None and engine == "plain":
        raise ConfigError("`num_workers` needs `engine=ray`; give both or neither")
    return engine == "ray"


def _more(output: str, done: Predicted) -> str:
    """Further counts for the summary line, where they are not 0."""
    parts = (
        (done.num_abstained, f"{done.num_abstained} of them have no label, as the artifact's decision abstained"),
        (done.num_resumed, f"{done.num_resumed} of them are from the previous run"),
        (done.num_refused, f"{done.num_refused} bad rows were skipped{_where_refused(output)}"),
    )
    return "".join(f"; {text}" for count, text in parts if count)


def _where_refused(output: str) -> str:
    from dhrd._files import is_stream
    from dhrd.run.predict.sinks import errors_of

    return "" if is_stream(Path(output)) else f" and are listed in {errors_of(Path(output))}"
