"""What a process loads once, for all its cells: the backbones, the rows and their tokens."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace

from dhrd.artifact.digests import backbone_file_digests
from dhrd.config import ModelSettings, RunConfig
from dhrd.data.labels import LabelSet
from dhrd.data.rows import Rows, check_rationales, load_rows
from dhrd.experiments.cells import Cell, hash_rows
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.model.location import SCRATCH
from dhrd.training.build import Encoded, encode

_OF_TOKENS = {"max_input_tokens", "max_sequence_tokens", "order", "rationale_mode"}
"""The settings of `data` that decide what encoding makes of the rows, and not the rows."""
_MAX_KEPT = 16  # data sets kept as rows, and as tokens; the oldest goes first


class Cache:
    """Caches of one process.

    Args:
        device: "cpu", "cuda" or "mps"; None: the best available.
        places: Name of a backbone -> the directory that it is loaded from here. The name stays the cell's, so cells of
            machines that keep the same backbone in different places are the same cells.
    """

    def __init__(self, device: str | None = None, places: Mapping[str, str] | None = None) -> None:
        self.device = device
        self.places = dict(places or {})
        self._rows: dict[str, Rows] = {}
        self._labels: dict[str, LabelSet] = {}
        self._rows_hashes: dict[str, str] = {}
        self._weights_hashes: dict[str, str | None] = {}
        self._backbones: dict[str, Backbone] = {}
        self._encoded: dict[str, Encoded] = {}

    def rows(self, config: RunConfig, fold: tuple[int, int] | None = None) -> Rows:
        """The rows of a run; in a cell that chooses, its fold of the training rows takes the place of validation.

        Raises:
            UserError: As `load_rows`.
        """
        key = _rows_key(config)
        if key not in self._rows:
            _make_room(self._rows)
            self._rows[key] = load_rows(config)
            self._labels[key] = self._rows[key].labels
        rows = self._rows[key]
        check_rationales(config, rows.train)
        return rows if fold is None else rows.fold(*fold, config)

    def labels(self, config: RunConfig) -> LabelSet:
        """The label set of a run's rows.

        Raises:
            UserError: As `load_rows`.
        """
        key = _rows_key(config)
        return self._labels[key] if key in self._labels else self.rows(config).labels

    def rows_hash(self, config: RunConfig) -> str:
        """The hash of a run's rows, as `hash_rows` gives it.

        Raises:
            UserError: As `load_rows`.
        """
        key = json.dumps([_rows_key(config), config.loss.reads_rationales])
        if key not in self._rows_hashes:
            self._rows_hashes[key] = hash_rows(self.rows(config), config)
        return self._rows_hashes[key]

    def weights_hash(self, name: str) -> str | None:
        """A hash of the files of a backbone or an encoder; None where its name alone decides it.

        Raises:
            UserError: As `backbone_file_digests`.
        """
        if name not in self._weights_hashes:
            place = self.places.get(name, name)
            digests = backbone_file_digests(place) if place == name or os.path.isabs(name) else {}
            known = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]
            self._weights_hashes[name] = known if digests else None
        return self._weights_hashes[name]

    def backbone(self, config: RunConfig) -> Backbone:
        """A backbone to change at will, as it was loaded or drawn."""
        if config.model.quantization:
            return self._load(config)  # quantized weights do not survive copying
        pristine = self._pristine(config)
        return replace(pristine, model=copy.deepcopy(pristine.model))

    def encoded(self, cell: Cell, rows: Rows) -> Encoded:
        """The tokens of a cell's rows.

        Raises:
            DataError: A row cannot be encoded.
        """
        config = cell.config
        encoding = config.data.model_dump(mode="json", include=_OF_TOKENS)
        shuffles = config.data.rationale_mode.startswith("shuffled")
        parts = [_rows_key(config), encoding, cell.fold, config.seed if cell.fold or shuffles else None]
        learned = [config.loss.runs_continuation, config.loss.keyword_weight > 0]
        key = json.dumps([*parts, _model_key(config.model), *learned])
        if key not in self._encoded:
            _make_room(self._encoded)
            self._encoded[key] = encode(config, rows, self._pristine(config))
        return self._encoded[key]

    def _pristine(self, config: RunConfig) -> Backbone:
        """A backbone that nobody changes; one that is drawn differs by seed."""
        drawn = config.model.name_or_path.startswith(SCRATCH)
        key = _model_key(config.model) + (f" {config.seed}" if drawn else "")
        if key not in self._backbones:
            self._backbones.clear()  # one at a time: cells come in the order of their backbones and seeds
            self._backbones[key] = self._load(config)
        return self._backbones[key]

    def _load(self, config: RunConfig) -> Backbone:
        name = config.model.name_or_path
        settings = config.model.model_copy(update={"name_or_path": self.places.get(name, name)})
        return replace(load_backbone(settings, seed=config.seed), name=name)


def _make_room(kept: dict[str, Rows] | dict[str, Encoded]) -> None:
    while len(kept) >= _MAX_KEPT:
        del kept[next(iter(kept))]


def _model_key(settings: ModelSettings) -> str:
    return json.dumps([settings.name_or_path, settings.revision, settings.dtype, settings.quantization])


def _rows_key(config: RunConfig) -> str:
    data = config.data
    drawn = data.dev_share or data.label_noise or data.train_share < 1 or data.rationale_share < 1
    seed = config.seed if drawn else None
    return json.dumps([data.model_dump(mode="json", exclude=_OF_TOKENS), config.model.num_labels, seed])
