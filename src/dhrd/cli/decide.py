"""`dhrd decide`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.options import Config, Device, Dtype, Json, Set, write_json
from dhrd.errors import ConfigError


def decide(
    model: Annotated[
        Path,
        typer.Option("--model", help="Artifact to add the decision to: a directory written by `dhrd train`."),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Labelled rows the model was not trained on; default: those held out in training."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help='Target on answered rows: "accuracy>=0.95", "precision:LABEL>=0.9", "recall:LABEL>=0.9"; repeatable.'
        ),
    ] = None,
    sets: Annotated[
        float | None,
        typer.Option(help="Give each row a set of labels that contains the right one with this probability."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence with which all targets hold on new rows.")] = 0.9,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the decision, so that every row is answered.")] = False,
    config: Config = None,
    overrides: Set = None,
    device: Device = None,
    dtype: Dtype = "auto",
    json_file: Json = None,
) -> None:
    """Make a classifier abstain where it would miss a target.

    The least abstention that meets the target on new rows is chosen on labelled rows and written into the artifact.
    """
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.artifact.info import read_info
    from dhrd.cli.settings import check_inputs, inference_config, read_by
    from dhrd.cli.show import decision_table
    from dhrd.decisions.target import parse_target

    if clear and (data is not None or target or sets is not None):
        raise ConfigError("--clear removes the decision and takes no --data, --target or --sets; leave them out")
    settings = inference_config(model, config, overrides)
    check_outputs([Output("--json", json_file, JSON)], read_by(model, settings, data, config))
    check_inputs(model, None if clear else data, settings, split="validation")
    for text in target or ():
        parse_target(text, read_info(model).labels.names)
    from dhrd.run import decide as run

    if clear:
        run.clear(model)
        write_json(json_file, {"decision": None})
        with talking(json_file):
            say(f"{model} answers every row")
        return
    decided = run.decide(
        model,
        data,
        targets=target or (),
        sets=sets,
        confidence=confidence,
        config=settings,
        device=device,
        dtype=dtype,
    )
    write_json(json_file, decided.metrics)
    with talking(json_file):
        decision_table({"decision": decided.metrics})
        answered = f"{decided.metrics['coverage']:.1%} of these {decided.decision.num_rows} rows are answered"
        say(f"{answered}; the decision is saved in {model} and used by predict, evaluate and serve")
        if decided.replaced is not None:
            say(f"it replaces the one that was there: {decided.replaced}")
