"""`predict`: label rows in order, in constant memory, resumably."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dhrd._files import is_stream
from dhrd._progress import track
from dhrd._versions import library_versions
from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.owned import artifact_fingerprint
from dhrd.config import RunConfig
from dhrd.data.records import Example
from dhrd.errors import ConfigError
from dhrd.inference.classifier import Classifier
from dhrd.inference.prediction import Prediction
from dhrd.inference.streaming import Scored
from dhrd.run.predict.input_types import column_types, files_of_input
from dhrd.run.predict.journal import LongJob, Mark
from dhrd.run.predict.reading import Reading
from dhrd.run.predict.sinks import Refused, RowSink, open_sink
from dhrd.run.predict.tables import Columns, Record
from dhrd.run.rows import open_rows, settings_of

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """The result of a job.

    Args:
        num_rows: Predictions in the output.
        num_abstained: Predictions without a label, as the artifact's decision abstained.
        num_refused: Bad rows that were skipped.
        num_resumed: Predictions made by an earlier, interrupted run.
    """

    num_rows: int
    num_abstained: int = 0
    num_refused: int = 0
    num_resumed: int = 0


def predict(
    model_dir: str | Path,
    data: Any,
    *,
    split: str = "test",
    config: RunConfig | None = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Label rows, in order, in constant memory.

    Args:
        model_dir: An artifact, written by `train`.
        data: Rows, or a source as for `data.train`; labels are not needed.
        split: The split of `superglue:` and `hub:` data.
        config: Settings with column names; None: those of the training run.
        **options: Options of `Classifier.from_pretrained`: `device`, `dtype`, `max_tokens_per_pass`, `share_prefixes`,
            `compile`, `strict`.

    Yields:
        `id`, `label`, `probabilities`; if the artifact has a decision, also `abstained` and (with sets) `label_set`.

    Raises:
        UserError: The artifact or a row cannot be used; rows before it were yielded.
    """
    classifier = Classifier.from_pretrained(model_dir, **options)
    config = config or settings_of(model_dir)
    examples = open_rows(data, split, config, classifier.info).examples(labels_required=False)
    columns = columns_of_output(classifier.info, ())
    for prediction in track(classifier.stream(examples), "predicting"):
        yield _record(prediction, columns)
    warn_of_cut(classifier.info, classifier.num_cut, classifier.num_mended)


def predict_to(
    output: str | Path,
    model_dir: str | Path,
    data: Any,
    *,
    job: LongJob | None = None,
    config: RunConfig | None = None,
    **options: Any,
) -> Predicted:
    """Label rows and write them in constant memory; reading, inference and writing overlap.

    Args:
        output: A file with suffix .jsonl, .jsonl.gz, .csv or .parquet; a directory (ending in a slash unless it
            exists), for Parquet parts; or `-` or a pipe, for JSON lines. Files appear at their final place only when
            they are complete.
        model_dir: An artifact, written by `train`.
        data: A source as for `data.train`; labels are not needed.
        job: Options of the job.
        config: Settings with column names; None: those of the training run.
        **options: See `predict`.

    Raises:
        ConfigError: The work to resume was made from other rows, or with another model or other settings.
        UserError: The artifact or a row cannot be used.
        SaveError: The disk is full, or the place not writable.
    """
    job = job or LongJob()
    if job.resume and is_stream(Path(output)):
        raise ConfigError(f"{output}: a stream cannot be resumed; give a file, or leave `resume` out")
    again = {"keep_prefixes": False}  # a resumed run has not seen the earlier rows, yet must write the same bytes
    classifier = Classifier.from_pretrained(model_dir, **options | again)
    config = config or settings_of(model_dir)
    columns = columns_of_output(classifier.info, job.keep)
    if job.keep:
        columns = replace(columns, types=column_types(files_of_input(data), job.keep))
    source = open_rows(data, "test", config, classifier.info)
    runs_as = {"device": classifier.device.type, "dtype": str(classifier.dtype), "columns": columns.names}
    settings = job_settings(Path(model_dir), {**options, **runs_as})
    with open_sink(str(output), columns, settings, resume=job.resume, tell=_warn_skipped) as sink:
        begun = sink.mark
        reading = Reading(source, keep=job.keep, skip=job.on_error == "skip")
        reading.go_to(begun.num_read, begun.digest, is_last=begun.is_last)
        counted = begun if begun.is_last else write_predictions(classifier, reading, sink, columns)
        sink.publish(counted)
    warn_of_cut(classifier.info, counted.num_cut, counted.num_mended)
    return Predicted(
        num_rows=counted.num_written,
        num_abstained=counted.num_abstained,
        num_refused=counted.num_refused,
        num_resumed=begun.num_written,
    )


def write_predictions(classifier: Classifier, reading: Reading, sink: RowSink, columns: Columns) -> Mark:
    """Label rows and write them; each window is written while the next is computed.

    Returns:
        The mark after the last row.

    Raises:
        UserError: A row cannot be used; the windows before it were written.
        SaveError: The disk is full.
    """
    mark, written = sink.mark, None
    with ThreadPoolExecutor(1, thread_name_prefix="dhrd-write") as pool:
        rows = track(reading, "predicting")
        for part in classifier.scored(rows, skip=reading.skips):
            records, refused = _records(classifier, part, reading, columns)
            mark = _moved(mark, part, records, refused, reading)
            _wait(written)
            written = pool.submit(sink.write, records, refused, mark if part.is_whole else None)
        _wait(written)
    if late := reading.late():
        sink.write([], late, None)
    return replace(mark, num_refused=mark.num_refused + len(late))


def _wait(written: Future[None] | None) -> None:
    if written is not None:
        written.result()


def _records(
    classifier: Classifier, part: Scored[Example], reading: Reading, columns: Columns
) -> tuple[list[Record], list[Refused]]:
    refused = reading.taken(len(part.rows) + len(part.refused), part.refused)
    predictions = classifier.predictions(part)
    records: list[Record] = [
        _record(prediction, columns) | {name: example.fields.get(name) for name in columns.keep}
        for prediction, example in zip(predictions, part.rows, strict=True)
    ]
    return records, refused


def _record(prediction: Prediction, columns: Columns) -> dict[str, object]:
    record: dict[str, object] = {"id": prediction.id, "label": prediction.label}
    if columns.abstains:
        record["abstained"] = prediction.abstained
    record["probabilities"] = prediction.probabilities
    if columns.has_sets:
        record["label_set"] = list(prediction.label_set or ())
    return record


def _moved(
    mark: Mark, part: Scored[Example], records: Sequence[Record], refused: Sequence[Refused], reading: Reading
) -> Mark:
    """The mark after a window."""
    return Mark(
        num_read=reading.num_taken,
        num_written=mark.num_written + len(records),
        num_abstained=mark.num_abstained + sum(record["label"] is None for record in records),
        num_refused=mark.num_refused + len(refused),
        num_cut=mark.num_cut + sum(item.was_cut for item in part.inputs),
        num_mended=mark.num_mended + sum(item.was_mended for item in part.inputs),
        digest=reading.digest,
    )


def columns_of_output(info: ArtifactInfo, keep: tuple[str, ...]) -> Columns:
    """The columns of an artifact's predictions, including those copied from the input.

    Raises:
        ConfigError: Two have the same name.
    """
    decision = info.decision
    columns = Columns(
        labels=info.labels,
        keep=keep,
        abstains=decision is not None and bool(decision.rules),
        has_sets=decision is not None and decision.sets is not None,
    )
    taken = {*columns.own, *(name for names in columns.spread.values() for name in names)}
    if odd := [name for index, name in enumerate(keep) if name in taken or name in keep[:index]]:
        raise ConfigError(f"`keep={odd[0]}`: predictions already have a column of that name; rename it in the input")
    return columns


def job_settings(model_dir: Path, runs_as: Mapping[str, Any]) -> dict[str, str]:
    """What must be the same for a run to be resumed."""
    return {
        "model": artifact_fingerprint(model_dir),
        "setting": json.dumps(runs_as, sort_keys=True, default=str),
        "version of a library": json.dumps(library_versions(), sort_keys=True),
    }


def _warn_skipped(row: Refused) -> None:
    logger.warning("skipped: %s: %s", row.where, row.reason)


def warn_of_cut(info: ArtifactInfo, num_cut: int, num_mended: int) -> None:
    """Warn about inputs that had to be changed."""
    if num_cut or num_mended:
        logger.warning(
            "%d inputs were truncated to %d tokens; %d ended in the padding token and got a newline",
            num_cut,
            info.max_input_tokens,
            num_mended,
        )
