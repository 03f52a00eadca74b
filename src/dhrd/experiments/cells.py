"""A cell of a study's grid: one arm, task, backbone and seed; and the files that finished cells are.

A cell's key is a hash of what decides its numbers: the settings that differ from the defaults, the rows themselves, how
answers are read, and of a backbone in a directory its files. Where its rows are on disk and how a machine runs an
update are not part of it, so cells of several machines merge by copying files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dhrd._files import saving, writing
from dhrd.config import RunConfig
from dhrd.data.records import Example
from dhrd.data.rows import Rows
from dhrd.data.templates import ROW, InputTemplate
from dhrd.experiments.cell_result import FORMAT_VERSION, CellResult, read_cell
from dhrd.experiments.study import Arm, Settings
from dhrd.inference.decoding import Decoding
from dhrd.training.identity import flat, identity

_PLACES = {"train", "validation", "test", "rationales", "superglue_root"}  # the rows are hashed, not their places
_MACHINE = {"training.compile", "training.gradient_checkpointing", "training.max_tokens_per_micro_batch"}
"""What a machine may choose by its memory and its compiler: the update is the same up to rounding. A file says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDecoding(Decoding):
    """How a cell's chain of thought is decoded: by default as in the paper, and with the cell's own seed.

    Args:
        limit: Decode only so many of the validation rows, the same for all seeds; None: all.
    """

    temperature: float = 0.1
    top_p: float = 0.7
    limit: int | None = None

    def decisive(self) -> dict[str, int | float | None]:
        """What decides the answers; the seed stands among the cell's settings."""
        return {name: value for name, value in asdict(self).items() if name != "seed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training run or evaluation.

    Args:
        task: A SuperGLUE task, or the name of the config's own data.
        arm: How it is trained and read.
        config: All settings, the arm's and the seed among them.
        rows_hash: Hash of the training and the validation rows.
        weights_hash: Hash of the backbone's files, or the encoder's, where they lie on this machine under their name.
        decoding: Decoding settings, if the arm decodes.
        fold: (which, of how many) if the cell only serves to choose a setting: it is trained on the other folds of
            the training rows and evaluated on this one, and never sees a validation row.
    """

    task: str
    arm: Arm
    config: RunConfig
    rows_hash: str
    weights_hash: str | None = None
    decoding: CellDecoding = field(default_factory=CellDecoding)
    fold: tuple[int, int] | None = None

    @property
    def backbone(self) -> str:
        """A short name of the backbone."""
        return short_name(self.config.model.name_or_path)

    @property
    def key(self) -> str:
        """A hash of all that decides the cell's numbers."""
        parts = {
            "settings": self._settings,
            "rows": self.rows_hash,
            "read": self.arm.read,
            "trained": self.arm.trained,
            "fold": self.fold,
            "decoding": self._decoding,
            "speed": self.arm.speed,
            **({"encoder": self.arm.encoder} if self.arm.encoder is not None else {}),
            **({"weights": self.weights_hash} if self.weights_hash is not None else {}),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def _settings(self) -> Settings:
        settings = decisive_settings(self.config, trained=self.arm.trained)
        if self.arm.encoder is None:
            return settings
        # An encoder takes the backbone's place and knows its own loss
        return {name: value for name, value in settings.items() if not name.startswith(("model.", "loss."))}

    @property
    def _decoding(self) -> dict[str, int | float | str | None] | None:
        if self.arm.read != "decode":
            return None
        # Earlier versions drew other rows for each seed: the cells that they limited are others
        drawn = {} if self.decoding.limit is None else {"drawn": "for all seeds"}
        return {**self.decoding.decisive(), "engine": self.arm.engine, **drawn}

    @property
    def title(self) -> str:
        """For people: task · backbone · arm · seed."""
        fold = f" · fold {self.fold[0] + 1} of {self.fold[1]}" if self.fold else ""
        return f"{self.task} · {self.backbone} · {self.arm.title} · seed {self.config.seed}{fold}"

    @property
    def file_name(self) -> str:
        """Readable, and unique by the key."""
        fold = f"-fold{self.fold[0]}" if self.fold else ""
        name = f"{self.task}-{self.backbone}-{self.arm.name}-seed{self.config.seed}{fold}-{self.key}.json"
        return re.sub(r"[^\w.-]+", "_", name)


def decisive_settings(config: RunConfig, *, trained: bool = True) -> Settings:
    """The settings that decide a cell's numbers, by dotted name, without those that are as the defaults.

    So a later version with one more setting still knows its cells again.
    """
    ours, defaults = flat(identity(config)), flat(identity(RunConfig()))
    free = {f"data.{name}" for name in _PLACES} | _MACHINE
    changed = {name: value for name, value in ours.items() if name not in free and defaults.get(name) != value}
    if trained:
        return changed
    # Neither the optimisation nor the losses decide anything
    return {name: value for name, value in changed.items() if not name.startswith(("training.", "loss."))}


def short_name(name_or_path: str) -> str:
    """The last part of a hub name or a path; of a `scratch:` config that is named config.json, its folder."""
    path = name_or_path.rstrip("/").removesuffix("/config.json")
    return path.rpartition("/")[2].removesuffix(".gguf").removesuffix(".json")


def hash_rows(rows: Rows, config: RunConfig) -> str:
    """A hash of the training and validation rows: ids, labels, the columns that the template reads, rationales where
    they are learned from. A column that nothing reads orphans no result.
    """
    digest = hashlib.sha256(rows.template.encode())
    learns, read = config.loss.reads_rationales, InputTemplate(rows.template).variables
    for part in (rows.train, rows.choose if rows.has_dev else [], rows.validation):
        digest.update(f"{len(part)} rows".encode())
        for example in part:
            digest.update(_row(example, read, with_rationale=learns))
    return digest.hexdigest()[:16]


def _row(example: Example, read: frozenset[str], *, with_rationale: bool) -> bytes:
    columns = {name: value for name, value in example.columns().items() if name in read or ROW in read}
    parts: list[object] = [example.id, columns, example.label, example.rationale if with_rationale else None]
    if example.shares is not None or example.weight != 1:
        parts += [example.shares, example.weight]
    if example.group is not None:
        parts.append({"group": example.group})
    return json.dumps(parts, sort_keys=True, default=str, ensure_ascii=False).encode("utf-8", "surrogatepass")


class CellStore:
    """The finished cells in a directory: one JSON file each, found by key.

    Args:
        directory: Created when the first cell is saved.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, cell: Cell) -> CellResult | None:
        """The finished cell, whatever arm's or study's name it was run under; None where there is none.

        Raises:
            DataError: The file is damaged.
        """
        for path in self.directory.glob(f"*-{cell.key}.json"):
            return read_cell(path)
        return None

    def has(self, cell: Cell) -> bool:
        """Whether the cell is finished."""
        return next(self.directory.glob(f"*-{cell.key}.json"), None) is not None

    def settled(self, cell: Cell) -> bool:
        """Whether it is finished, or one of a choice that diverged."""
        return self.has(cell) or self.diverged(cell) is not None

    def diverged(self, cell: Cell) -> str | None:
        """Why a cell of a choice has no result, if its training diverged: these settings lose."""
        for path in self.directory.glob(f"*-{cell.key}.diverged.json"):
            return str(json.loads(path.read_text(encoding="utf-8"))["diverged"])
        return None

    def save_diverged(self, cell: Cell, why: str) -> None:
        """Write that a cell of a choice diverged, so that no later call tries it again."""
        path = (self.directory / cell.file_name).with_suffix(".diverged.json")
        self._write(path, {**_identity(cell), "diverged": why})

    def save(self, cell: Cell, result: CellResult) -> Path:
        """Write a finished cell, whole or not at all."""
        path = self.directory / cell.file_name
        self._write(path, {"format_version": FORMAT_VERSION, **_identity(cell), **result.model_dump()})
        return path

    def _write(self, path: Path, content: Mapping[str, object]) -> None:
        with saving(str(self.directory)):
            self.directory.mkdir(parents=True, exist_ok=True)
        with writing(path) as file:
            file.row(content)


def _identity(cell: Cell) -> dict[str, object]:
    """What decides a cell, for its file."""
    return {
        "key": cell.key,
        "task": cell.task,
        "backbone": cell.backbone,
        "arm": cell.arm.name,
        "read": cell.arm.read,
        "encoder": cell.arm.encoder,
        "trained": cell.arm.trained,
        "seed": cell.config.seed,
        "fold": cell.fold,
        "decoding": cell.decoding.decisive() if cell.arm.read == "decode" else None,
        "config": _without_places(identity(cell.config)),
        "rows": cell.rows_hash,
        **({"weights": cell.weights_hash} if cell.weights_hash is not None else {}),
    }


def _without_places(settings: Settings) -> Settings:
    """The settings without the places of the rows, which differ by machine and decide nothing."""
    data = settings["data"]
    assert isinstance(data, Mapping)
    return {**settings, "data": {name: value for name, value in data.items() if name not in _PLACES}}


def unfinished(cells: Sequence[Cell], store: CellStore) -> Iterator[Cell]:
    """Cells that are not settled yet, each key once, in order."""
    seen: set[str] = set()
    for cell in cells:
        if cell.key not in seen and not store.settled(cell):
            yield cell
        seen.add(cell.key)
