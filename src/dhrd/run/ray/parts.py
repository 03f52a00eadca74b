"""A parts directory written by many processes: each part is complete or absent, and all are published together."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from dhrd._files import locked
from dhrd._json import json_line
from dhrd._text import message_of
from dhrd.data.remote import is_url, local_path
from dhrd.errors import ConfigError, DhrdError, SaveError
from dhrd.run.predict.journal import Mark, check_same_run
from dhrd.run.predict.sinks import ERRORS, PART, Refused, check_part, is_directory

_SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class PartDone:
    """The record of a finished part.

    Args:
        mark: Its counts.
        refused: Its bad rows, which were skipped.
    """

    mark: Mark
    refused: tuple[Refused, ...] = ()

    @classmethod
    def read(cls, content: bytes) -> PartDone:
        """Parse what `content` wrote."""
        record = json.loads(content)
        return cls(Mark(**record["mark"]), tuple(Refused(*row) for row in record["refused"]))

    def content(self) -> bytes:
        """JSON."""
        return json.dumps({"mark": asdict(self.mark), "refused": [[r.where, r.reason] for r in self.refused]}).encode()


def _place(name: str) -> str:
    """Where a file is, whatever name or local address leads to it."""
    path = local_path(name) if is_url(name) else name
    return name if path is None else os.path.realpath(path)


def part_name(file: int, number: int) -> str:
    """The name of a part; sorted by name, parts are in the order of the input."""
    return f"part-{file:05d}-{number:05d}"


@dataclass(frozen=True, slots=True)
class PartsOutput:
    """A directory of parts, local or remote; unpublished parts are in `.partial` inside it.

    Args:
        directory: Its path, or its fsspec URL.
    """

    directory: str

    @classmethod
    def of(cls, output: str) -> PartsOutput:
        """Parse the name of an output.

        Raises:
            ConfigError: The output is not a directory.
        """
        if not (output.endswith("/") if is_url(output) else is_directory(output)):
            raise ConfigError(f"{output}: several workers write a directory of parts; give a name that ends in a slash")
        return cls(output.rstrip("/") if is_url(output) else os.path.realpath(output))

    @property
    def errors(self) -> str:
        """The file beside it that lists skipped rows."""
        return f"{self.directory}{ERRORS}"

    def check_apart(self, files: Iterable[str]) -> None:
        """Refuse a directory that contains input files.

        Raises:
            ConfigError: An input file is in the directory.
        """
        directory = _place(self.directory)
        for file in files:
            if _place(file).rpartition("/")[0] == directory:
                raise ConfigError(f"{self.directory}: would overwrite an input ({file}); give another name")

    def held(self) -> AbstractContextManager[None]:
        """Lock it against other jobs if it is on a local disk; remote stores have no locks.

        Raises:
            ConfigError: Another job has locked it.
        """
        return nullcontext() if is_url(self.directory) else locked(Path(self.directory))

    def begin(self, settings: Mapping[str, str], *, resume: bool) -> dict[str, PartDone]:
        """Start over, or continue with the parts that another job left.

        Returns:
            Those parts, by name.

        Raises:
            ConfigError: They were made with other settings, or the directory contains other files.
            SaveError: The directory cannot be written.
        """
        with self._saving() as (system, root):
            self._check(system, root)
            work = f"{root}/.partial"
            if system.exists(work) and not (resume and system.exists(f"{work}/{_SETTINGS}")):
                system.rm(work, recursive=True)
            if system.exists(f"{work}/{_SETTINGS}"):
                check_same_run(self.directory, json.loads(system.cat_file(f"{work}/{_SETTINGS}")), settings)
                for path in system.glob(f"{work}/*.begun-*"):
                    system.rm(path)
                told = system.glob(f"{work}/part-*.json")
                contents = system.cat(told) if len(told) > 1 else {path: system.cat_file(path) for path in told}
                return {Path(path).stem: PartDone.read(content) for path, content in contents.items()}
            system.makedirs(work, exist_ok=True)
            self._place(system, json.dumps(settings).encode(), f"{work}/{_SETTINGS}")
            return {}

    def save(self, name: str, file: Path, done: PartDone) -> None:
        """Save a part, then its record; only a part with a record counts as finished.

        Raises:
            SaveError: The disk is full, or the place not writable.
        """
        with self._saving() as (system, root):
            self._place(system, file, f"{root}/.partial/{name}.parquet")
            self._place(system, done.content(), f"{root}/.partial/{name}.json")

    @contextmanager
    def attempt(self, name: str) -> Iterator[int]:
        """Wrap the making of a part, to count processes that die over it.

        Yields:
            Number of processes that died over it so far.
        """
        with self._saving() as (system, root):
            begun = f"{root}/.partial/{name}.begun"
            num_deaths = len(system.glob(f"{begun}-*"))
            system.pipe_file(f"{begun}-{num_deaths}", str(os.getpid()).encode())
        try:
            yield num_deaths
        finally:
            with self._saving(), suppress(FileNotFoundError):  # a process presumed dead has finished it
                for path in system.glob(f"{begun}-*"):
                    system.rm(path)

    def publish(self, done: Mapping[str, PartDone]) -> None:
        """Move the parts and the list of skipped rows to their final places, and remove those of older jobs.

        Parts that an interrupted job has moved stay.

        Raises:
            SaveError: The directory cannot be written.
        """
        with self._moving(), self._saving() as (system, root):
            refused = [json_line(row.record()) for name in sorted(done) for row in done[name].refused]
            if refused:
                self._place(system, b"".join(refused), f"{root}{ERRORS}")
            elif system.exists(f"{root}{ERRORS}"):
                system.rm(f"{root}{ERRORS}")
            for path in system.glob(f"{root}/{PART}"):
                if Path(path).stem not in done:
                    system.rm(path)
            for name in sorted(done):
                part = f"{root}/.partial/{name}.parquet"
                if system.exists(part) or not system.exists(f"{root}/{name}.parquet"):  # else moved before a kill
                    system.mv(part, f"{root}/{name}.parquet")
            system.rm(f"{root}/.partial", recursive=True)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """If an error ends the block, add that some parts may be in place."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"{self.directory} may be incomplete; complete it with `resume`")
            raise

    def _check(self, system: Any, root: str) -> None:
        for path in system.ls(root, detail=False) if system.exists(root) else ():
            check_part(self.directory, Path(path).name)

    def _place(self, system: Any, content: bytes | Path, path: str) -> None:
        """Write under a unique name and rename, so that no partial file is visible and one of two equal writers
        wins."""
        folder, name = path.rsplit("/", 1)
        partial = f"{folder}/.{name}.{secrets.token_hex(4)}"
        if isinstance(content, Path):
            system.put_file(str(content), partial)
        else:
            system.pipe_file(partial, content)
        system.mv(partial, path)

    @contextmanager
    def _saving(self) -> Iterator[tuple[Any, str]]:
        """The file system and the path in it; any error, whose type depends on the file system, becomes a
        `SaveError`."""
        try:
            yield url_to_fs(self.directory)
        except DhrdError:
            raise
        except Exception as error:
            reason = getattr(error, "strerror", None) or message_of(error)
            raise SaveError(
                f"{self.directory} could not be saved ({reason}); finished parts are kept: make room or correct "
                "the name, and run again with `resume`"
            ) from error
