"""`dhrd export`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.options import Artifact, Config, Json, Set, write_json
from dhrd.export.runtimes import RUNTIMES, find_runtime

if TYPE_CHECKING:
    from dhrd.export.export import ExportParity


def export(
    model: Artifact,
    output: Annotated[Path, typer.Option(help="Directory to write.")],
    format: Annotated[str, typer.Option(help=f"{' or '.join(RUNTIMES)}.")] = "onnx",
    weight_type: Annotated[
        str,
        typer.Option("--weights", help="float32, or for smaller files int8 (onnx) or bfloat16 (openvino)."),
    ] = "float32",
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Least share of rows on which the export must agree; default: 1 in float32, else 0.99."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Rows to compare on: superglue:TASK, hub:NAME, or a file; default: the run's own data."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    limit: Annotated[int, typer.Option(min=1, help="Use only the first N rows.")] = 256,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the contents of --output.")] = False,
    config: Config = None,
    overrides: Set = None,
    json_file: Json = None,
) -> None:
    """Export a classifier to another runtime and verify it.

    The export is compared with the artifact on real rows and refused if the two disagree; the report is saved with it.
    """
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs
    from dhrd.artifact.owned import model_files
    from dhrd.cli.settings import check_inputs, inference_config, read_by
    from dhrd.run.rows import rows_of

    settled = inference_config(model, config, overrides)
    check_inputs(model, data, settled, split=split, labels_required=False)
    find_runtime(format)
    from dhrd.export.export import ExportSettings, check_export_place, export_classifier

    check_export_place(model, output, overwrite=overwrite)
    places = [Output("--output", path) for path in model_files(output)] if output.is_dir() else []
    check_outputs([*places, Output("--json", json_file, JSON)], read_by(model, settled, data, config))
    examples = rows_of(model, data, split=split, config=settled, limit=limit, labels_required=False)
    target = ExportSettings(format=format, weight_type=weight_type, min_agreement=min_agreement)
    parity = export_classifier(model, output, examples, target, overwrite=overwrite)
    write_json(json_file, parity.model_dump(mode="json"))
    with talking(json_file):
        _say_parity(output, parity)


def _say_parity(output: Path, parity: ExportParity) -> None:
    say(
        f"{output}: {parity.size_bytes / 2**20:.0f} MiB; same label on {parity.label_agreement:.2%} of "
        f"{parity.num_examples} rows, probabilities within {parity.max_probability_difference:.2g}"
    )
