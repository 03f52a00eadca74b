"""`predict` on a Ray cluster: each worker has a classifier and turns pieces of the input into parts of the output."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any

from fsspec.core import url_to_fs

from dhrd._progress import track
from dhrd._text import message_of
from dhrd.artifact.info import check_has_classifier, read_info
from dhrd.config import RunConfig
from dhrd.config.section import check_count
from dhrd.data.row import Remarks
from dhrd.errors import ConfigError, DhrdError
from dhrd.run.predict.input_types import column_types, files_of_input
from dhrd.run.predict.journal import LongJob, Mark
from dhrd.run.predict.predict import Predicted, columns_of_output, job_settings, warn_of_cut
from dhrd.run.predict.reading import Reading
from dhrd.run.predict.tables import Parquet
from dhrd.run.ray.cluster import Workers, connected, workers_of
from dhrd.run.ray.parts import PartDone, PartsOutput, part_name
from dhrd.run.ray.work import ClusterJob, Labeller, PartFile, PieceOutcome, read_pieces
from dhrd.run.rows import settings_of

_PIECE_ROWS = 16_384
_HEAD_ROWS = 2_048
_NUM_WARNINGS = 10


def predict_by_ray(
    output: str | Path,
    model_dir: str | Path,
    data: str | Path,
    *,
    num_workers: int | None = None,
    job: LongJob | None = None,
    config: RunConfig | None = None,
    **options: Any,
) -> Predicted:
    """Label rows of files on a cluster, by default with one process per GPU or machine.

    The names of parts sort in the order of the input, and rows keep their order within a part. If a process dies, it is
    restarted and its piece repeated; every row is in the output exactly once.

    Args:
        output: A directory (ending in a slash unless it exists), or its fsspec URL.
        model_dir: An artifact, written by `train`, at a path that exists on every machine.
        data: A file, a directory or a glob pattern, at a path visible to every machine or a URL.
        num_workers: Number of processes; None: one per GPU or, without GPUs, one per machine.
        job: Options of the job.
        config: Settings with column names; None: those of the training run.
        **options: See `predict`.

    Raises:
        ConfigError: The cluster is too small, or the work to resume is another job's.
        UserError: The artifact or a row cannot be used.
        SaveError: A part could not be written.
    """
    job = job or LongJob()
    if num_workers is not None:
        check_count("num_workers", num_workers)
    directory, files, target = Path(os.path.abspath(model_dir)), input_files(data), PartsOutput.of(str(output))
    target.check_apart(files)
    info = read_info(directory)
    check_has_classifier(directory, info)
    work = ClusterJob(
        model_dir=str(directory),
        options=options,
        config=config or settings_of(directory),
        columns=columns_of_output(info, job.keep),
        head=b"",
        skip=job.on_error == "skip",
        output=target,
        piece_rows=_PIECE_ROWS,
    )
    work = replace(work, head=_head(work, files))
    settings = job_settings(directory, {**options, "columns": work.columns.names, "rows of a part": work.piece_rows})
    settings["reading of rows"] = json.dumps(work.config.model_dump(mode="json", include={"data", "tasks"}))
    settings["input"] = json.dumps([[file, _key(file)] for file in files])
    with target.held():
        done = target.begin(settings, resume=job.resume)
        num_resumed = _sum(done, "num_written")
        with _kept(target, done), connected() as ray:
            workers = workers_of(ray.nodes(), num_workers, options.get("device"))
            placed = replace(work, options={**options, "device": workers.device})
            with closing(_outcomes(ray, placed, files, workers, done)) as outcomes:
                _gather(outcomes, done)
            parts = done or _no_rows(work)
        target.publish(parts)
    warn_of_cut(info, _sum(done, "num_cut"), _sum(done, "num_mended"))
    return Predicted(
        num_rows=_sum(done, "num_written"),
        num_abstained=_sum(done, "num_abstained"),
        num_refused=_sum(done, "num_refused"),
        num_resumed=num_resumed,
    )


def input_files(data: str | Path) -> list[str]:
    """The files of rows that `data` names, as absolute paths or URLs.

    Raises:
        ConfigError: `data` does not name files.
        DataError: There is no such file.
    """
    files = files_of_input(data)
    if not files:
        raise ConfigError(f"{data}: several workers read files; give a file, a directory, a glob pattern or a URL")
    return files


def _key(file: str) -> str:
    """A key that changes with a file's content: its size and modification time, or the file system's equivalent."""
    system, path = url_to_fs(file)
    return str(system.ukey(path))


def _head(work: ClusterJob, files: Sequence[str]) -> bytes:
    """The header of every part; copied columns have the type of the input's files, or of its first values.

    Raises:
        DataError: The first good row lacks such a column.
    """
    keep = work.columns.keep
    whole = replace(work.source(files[0]), read=lambda: chain.from_iterable(work.source(file).read() for file in files))
    first = islice(Reading(whole, keep=keep, skip=work.skip), _HEAD_ROWS) if keep else ()
    columns = replace(work.columns, types=column_types(files, keep))
    return Parquet(columns).head([{name: example.fields.get(name) for name in keep} for example in first])


def _no_rows(work: ClusterJob) -> dict[str, PartDone]:
    """Write a part without rows, for an input that has none."""
    name, done = part_name(0, 0), PartDone(Mark())
    with tempfile.TemporaryDirectory(prefix="dhrd-") as folder:
        work.output.save(name, PartFile(Path(folder) / "rows", work.columns, work.head).finish(), done)
    return {name: done}


def _outcomes(
    ray: ModuleType, work: ClusterJob, files: Sequence[str], workers: Workers, done: Collection[str]
) -> Generator[PieceOutcome, None, None]:
    """Yield the outcomes of the unfinished pieces as they come in."""
    data = ray.data
    context = data.DataContext.get_current().copy()
    context.target_max_block_size = 1  # one piece per block, so that it is labelled as soon as it is read
    context.enable_progress_bars = context.print_on_execution_start = False
    with data.DataContext.current(context):
        items = data.from_items([{"number": number, "file": file} for number, file in enumerate(files)])
        pieces = items.flat_map(
            read_pieces,
            fn_kwargs={"work": work, "done": frozenset(done)},
            compute=data.TaskPoolStrategy(workers.count),
            num_cpus=0,
        )
        outcomes = pieces.map_batches(
            Labeller,
            fn_constructor_args=(work,),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=workers.count),
            num_cpus=workers.num_cpus,
            num_gpus=workers.num_gpus,
        )
    try:
        for row in outcomes.iter_rows():
            yield pickle.loads(row["outcome"])
    except ray.exceptions.RayError as error:
        raise DhrdError(f"the cluster failed: {message_of(error)}") from error
    finally:  # the only way to stop a data set's work early and free its workers
        outcomes._synchronize_progress_bar()


def _gather(outcomes: Iterable[PieceOutcome], done: dict[str, PartDone]) -> None:
    """Collect the records of parts, and repeat some of the workers' warnings.

    Raises:
        DhrdError: A piece could not be labelled.
    """
    tell, num_told = Remarks(), 0
    for outcome in track(outcomes, "predicting, in parts"):
        for warning in outcome.warnings[: _NUM_WARNINGS - num_told]:
            tell(warning)
            num_told += 1
        if isinstance(outcome.done, DhrdError):
            raise outcome.done
        done[outcome.name] = outcome.done


@contextmanager
def _kept(target: PartsOutput, done: dict[str, PartDone]) -> Iterator[None]:
    """If an error ends the block, add a note on what another job can continue from."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"nothing was written to {target.directory}")
        if done:
            error.add_note(f"{_sum(done, 'num_written')} rows are kept in it; continue with `resume`")
        raise


def _sum(done: Mapping[str, PartDone], name: str) -> int:
    return sum(getattr(part.mark, name) for part in done.values())
