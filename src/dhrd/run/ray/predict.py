"""`predict` on a cluster of Ray: pieces of the input to processes with a classifier each, every piece a part."""

from __future__ import annotations

import json
import os
import pickle
import re
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
from dhrd.data.readers import files_of, is_read_once
from dhrd.data.remote import is_url, urls_of
from dhrd.data.row import Remarks
from dhrd.errors import ConfigError, DhrdError
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
    """Label the rows of files on a cluster, in as many processes as it has GPUs or machines.

    Parts are named in the order of the input, and hold its rows in their order. A process that dies is started again,
    and its piece labelled again: every row is in the output once.

    Args:
        output: A directory, whose name ends in a slash where there is none yet, or its address as fsspec has it.
        model_dir: What `train` wrote, at a path that every machine has.
        data: A file, a directory or a pattern of names, here (where every machine sees it) or at an address.
        num_workers: Processes; None: one a GPU, or one a machine where there is none.
        job: How it runs.
        config: Column names; None: as in training.
        **options: As `predict`'s.

    Raises:
        ConfigError: The cluster has not so much; or what is to be resumed is another job's.
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
    """The files of rows that are named, at paths or addresses that are the same in every process.

    Raises:
        ConfigError: What is named is no file.
        DataError: There is none.
    """
    if is_url(data):
        return urls_of(str(data))
    path = Path(data).expanduser()
    if is_read_once(path) or re.match(r"(superglue|policy_desk|hub):", str(data)):
        raise ConfigError(
            f"{data}: many workers read files; give a file, a directory, a pattern of names or an address"
        )
    return [os.path.abspath(file) for file in files_of(path)]


def _key(file: str) -> str:
    """What another content of a file changes: its size, its time, or what its system has for that."""
    system, path = url_to_fs(file)
    return str(system.ukey(path))


def _head(work: ClusterJob, files: Sequence[str]) -> bytes:
    """What stands before the rows of every part: kept columns have the type of the input's first values."""
    keep = work.columns.keep
    readings = (Reading(work.source(file), keep=keep, skip=work.skip) for file in files if keep)
    first = islice(chain.from_iterable(readings), _HEAD_ROWS)
    return Parquet(work.columns).head([example.fields for example in first])


def _no_rows(work: ClusterJob) -> dict[str, PartDone]:
    """A part without rows, which an output has where there are none."""
    name, done = part_name(0, 0), PartDone(Mark())
    with tempfile.TemporaryDirectory(prefix="dhrd-") as folder:
        work.output.save(name, PartFile(Path(folder) / "rows", work.columns, work.head).finish(), done)
    return {name: done}


def _outcomes(
    ray: ModuleType, work: ClusterJob, files: Sequence[str], workers: Workers, done: Collection[str]
) -> Generator[PieceOutcome, None, None]:
    """What becomes of the pieces that are not done, as they are."""
    data = ray.data
    context = data.DataContext.get_current().copy()
    context.target_max_block_size = 1  # a piece a block, so that it is labelled as soon as it is read
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
        raise DhrdError(f"the cluster gave up: {message_of(error)}") from error
    finally:  # the one way to stop the work of a data set before its end, which frees its workers
        outcomes._synchronize_progress_bar()


def _gather(outcomes: Iterable[PieceOutcome], done: dict[str, PartDone]) -> None:
    """Take what is told of parts, and tell some of what was said in the workers.

    Raises:
        DhrdError: A piece cannot be labelled.
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
    """Say, where an error ends the block, what another job can go on from."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"nothing was written to {target.directory}")
        if done:
            error.add_note(f"{_sum(done, 'num_written')} rows are kept in it: `resume` goes on after them")
        raise


def _sum(done: Mapping[str, PartDone], name: str) -> int:
    return sum(getattr(part.mark, name) for part in done.values())
