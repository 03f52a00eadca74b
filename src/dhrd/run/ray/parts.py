"""The parts of an output that many processes write: each is whole or absent, and all take their places together."""

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

from dhrd._files import json_line, locked
from dhrd._text import message_of
from dhrd.data.remote import is_url
from dhrd.errors import ConfigError, DhrdError, SaveError
from dhrd.run.predict.journal import Mark, check_same_run
from dhrd.run.predict.sinks import ERRORS, PART, Refused, check_part, is_directory

_SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class PartDone:
    """What is told of a part that is whole.

    Args:
        mark: What was counted in it.
        refused: Its bad rows, which were left out.
    """

    mark: Mark
    refused: tuple[Refused, ...] = ()

    @classmethod
    def read(cls, content: bytes) -> PartDone:
        """As `content` writes it."""
        record = json.loads(content)
        return cls(Mark(**record["mark"]), tuple(Refused(*row) for row in record["refused"]))

    def content(self) -> bytes:
        """JSON."""
        return json.dumps({"mark": asdict(self.mark), "refused": [[r.where, r.reason] for r in self.refused]}).encode()


def part_name(file: int, number: int) -> str:
    """The name of a part, in the order of which the parts have the order of the input."""
    return f"part-{file:05d}-{number:05d}"


@dataclass(frozen=True, slots=True)
class PartsOutput:
    """A directory of parts, here or elsewhere, which grow in `.partial` inside of it.

    Args:
        directory: Its path, or its address as fsspec has it.
    """

    directory: str

    @classmethod
    def of(cls, output: str) -> PartsOutput:
        """What an output names.

        Raises:
            ConfigError: It is not a directory.
        """
        if not (output.endswith("/") if is_url(output) else is_directory(output)):
            raise ConfigError(f"{output}: many workers write a directory of parts; give a name that ends in a slash")
        return cls(output.rstrip("/") if is_url(output) else os.path.realpath(output))

    @property
    def errors(self) -> str:
        """The file beside it that names the rows that were left out."""
        return f"{self.directory}{ERRORS}"

    def check_apart(self, files: Iterable[str]) -> None:
        """Refuse to write where the input is.

        Raises:
            ConfigError: A file of it lies in the directory.
        """
        for file in files:
            inside = file if is_url(file) else os.path.realpath(file)
            if inside.rpartition("/")[0] == self.directory:
                raise ConfigError(f"{self.directory}: would take the place of what is read ({file}); give another name")

    def held(self) -> AbstractContextManager[None]:
        """Hold it against other jobs, where it is on a disk: other places know no locks.

        Raises:
            ConfigError: Another job holds it.
        """
        return nullcontext() if is_url(self.directory) else locked(Path(self.directory))

    def begin(self, settings: Mapping[str, str], *, resume: bool) -> dict[str, PartDone]:
        """Begin anew, or go on with the parts that another job left.

        Returns:
            Those parts, by their names.

        Raises:
            ConfigError: Other settings made them, or the directory holds other files.
            SaveError: The place cannot be written.
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
        """Let a part be there; a part counts when what is told of it is there, which comes after it.

        Raises:
            SaveError: The disk is full, or the place not writable.
        """
        with self._saving() as (system, root):
            self._place(system, file, f"{root}/.partial/{name}.parquet")
            self._place(system, done.content(), f"{root}/.partial/{name}.json")

    @contextmanager
    def attempt(self, name: str) -> Iterator[int]:
        """Around the making of a part.

        Yields:
            How many processes died over it.
        """
        with self._saving() as (system, root):
            begun = f"{root}/.partial/{name}.begun"
            num_deaths = len(system.glob(f"{begun}-*"))
            system.pipe_file(f"{begun}-{num_deaths}", str(os.getpid()).encode())
        try:
            yield num_deaths
        finally:
            with self._saving(), suppress(FileNotFoundError):  # whoever was thought dead has done it
                for path in system.glob(f"{begun}-*"):
                    system.rm(path)

    def publish(self, done: Mapping[str, PartDone]) -> None:
        """Let the parts take their places, as far as they have not yet, and the rows that were left out theirs.

        Those of older jobs go.

        Raises:
            SaveError: The place cannot be written.
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
                if system.exists(part) or not system.exists(f"{root}/{name}.parquet"):  # a killed job may have moved it
                    system.mv(part, f"{root}/{name}.parquet")
            system.rm(f"{root}/.partial", recursive=True)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Say, where an error ends the block, that some parts may be in their places."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"{self.directory} was being put in its place: `resume` finishes that")
            raise

    def _check(self, system: Any, root: str) -> None:
        for path in system.ls(root, detail=False) if system.exists(root) else ():
            check_part(self.directory, Path(path).name)

    def _place(self, system: Any, content: bytes | Path, path: str) -> None:
        """Write under a name of its own, and rename: nobody sees a half, and of two who write the same one stays."""
        folder, name = path.rsplit("/", 1)
        partial = f"{folder}/.{name}.{secrets.token_hex(4)}"
        if isinstance(content, Path):
            system.put_file(str(content), partial)
        else:
            system.pipe_file(partial, content)
        system.mv(partial, path)

    @contextmanager
    def _saving(self) -> Iterator[tuple[Any, str]]:
        """The file system and the path in it; one line of whatever it raises: each has errors of its own."""
        try:
            yield url_to_fs(self.directory)
        except DhrdError:
            raise
        except Exception as error:
            reason = getattr(error, "strerror", None) or message_of(error)
            raise SaveError(
                f"{self.directory} could not be saved ({reason}); parts that are whole are kept: make room or correct "
                "the name, and run again with `resume`"
            ) from error
