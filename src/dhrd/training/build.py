"""The parts of a run: encoded rows, the model, the updates, and where to begin."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dhrd._text import shown
from dhrd.artifact.hub import find_artifact
from dhrd.artifact.write import check_can_be_saved
from dhrd.config import RunConfig
from dhrd.data.batches import PlannedUpdates
from dhrd.data.digest import fingerprint
from dhrd.data.inputs import InputEncoder
from dhrd.data.records import Example
from dhrd.data.rows import Rows, label_mass
from dhrd.data.sequence import EncodedData, SequenceEncoder
from dhrd.data.templates import InputTemplate
from dhrd.errors import CheckpointError, ModelError
from dhrd.label_loss import label_losses
from dhrd.model.backbone import Backbone, config_fingerprint
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.fit import check_context
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.frozen import FrozenUpdates
from dhrd.training.identity import BACKBONE, identity
from dhrd.training.kept_head import keep_head
from dhrd.training.loop import Updates
from dhrd.training.position import Position, is_possible
from dhrd.training.setup import Precision, choose_precision, make_accelerator, make_train_state, place
from dhrd.training.shards import gathered
from dhrd.training.sharing import choose_sharing
from dhrd.training.step import TrainState

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The rows of a run as tokens.

    Args:
        train: Training rows, with rationales where a loss uses them.
        choose: Rows that choices are made on; `validation` itself if no dev part was split off train.
        validation: Rows that the reported metrics are computed on.
    """

    train: EncodedData
    choose: EncodedData
    validation: EncodedData


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A run that is ready to begin.

    Args:
        config: The settings.
        rows: The rows that were read.
        data: The same rows, as tokens.
        updates: This process's training rows, in the order of the plan.
        state: Model, optimizer, accelerator.
    """

    config: RunConfig
    rows: Rows
    data: Encoded
    updates: Updates
    state: TrainState

    @property
    def model(self) -> DualHeadModel:
        """The model itself."""
        return self.state.model

    @property
    def accelerator(self) -> Accelerator:
        """Device, precision, processes."""
        return self.state.accelerator


def build(
    config: RunConfig,
    rows: Rows,
    backbone: Backbone,
    device: str | None = None,
    *,
    precision: Precision | None = None,
    data: Encoded | None = None,
) -> Parts:
    """Put a run together; the next random draw is the first update's dropout.

    Args:
        config: The settings.
        rows: The rows, from `load_rows`.
        backbone: Changed in place.
        device: "cpu", "cuda" or "mps"; None: the best available.
        precision: The precision that the run began with; None: chosen here.
        data: The rows as tokens, if already encoded; None: encoded here.

    Raises:
        DataError: A row cannot be encoded.
        ModelError: The sequences are longer than the backbone's context, or the backbone cannot carry the run.
        ConfigError: The device is not available, or a setting does not fit the backbone.
    """
    chosen = precision or choose_precision(config.training.mixed_precision, device, backbone.model.config)
    accelerator = make_accelerator(config, device, chosen)
    data = data or encode(config, rows, backbone)
    model = build_model(config, rows, backbone)
    place(model, config, accelerator)
    updates = plan_updates(config, data.train, model, accelerator)
    state = make_train_state(model, config, accelerator, updates.updates_per_epoch * config.training.num_epochs)
    # Each process has its own seed; otherwise all would have the same dropout.
    torch.manual_seed(config.seed + accelerator.process_index)
    return Parts(config=config, rows=rows, data=data, updates=updates, state=state)


def encode(config: RunConfig, rows: Rows, backbone: Backbone) -> Encoded:
    """Tokenise all rows; only training rows keep rationales as targets.

    Raises:
        DataError: A row cannot be encoded.
        ModelError: The sequences are longer than the backbone's context.
    """
    check_context(backbone.model.config, config.data.max_sequence_tokens)
    train = _encode_part(config, rows, backbone, "train", rows.train)
    validation = _encode_part(config, rows, backbone, "validation", rows.validation)
    choose = _encode_part(config, rows, backbone, "choose", rows.choose) if rows.has_dev else validation
    parts = (train, validation, choose)
    check_context(backbone.model.config, max(part.longest for part in parts))
    _check_tokens(backbone, parts)
    logger.info("train: %s", train.summary())
    return Encoded(train=train, choose=choose, validation=validation)


def _check_tokens(backbone: Backbone, parts: Sequence[EncodedData]) -> None:
    """Refuse rows with a token that the embeddings have no row for, as an added token may be."""
    num_rows = backbone.model.get_input_embeddings().weight.shape[0]
    for part in parts:
        for example in part.examples:
            if (token := max(*example.input_ids, *example.continuation_ids, 0)) >= num_rows:
                raise ModelError(
                    f"{backbone.name}: row {example.id} has the token "
                    f"{shown(backbone.tokenizer.convert_ids_to_tokens(token))}, number {token}, but the embeddings "
                    f"have {num_rows} rows; resize them (model.resize_token_embeddings), or remove it from the text"
                )


def _encode_part(
    config: RunConfig, rows: Rows, backbone: Backbone, name: str, examples: Sequence[Example]
) -> EncodedData:
    is_train = name == "train"
    encoder = SequenceEncoder(
        inputs=InputEncoder(
            tokenizer=backbone.tokenizer,
            template=InputTemplate(rows.template, chat=config.data.chat),
            max_input_tokens=config.data.max_input_tokens,
            mend_pad_ending=not is_train,
        ),
        labels=rows.labels,
        max_sequence_tokens=config.data.max_sequence_tokens,
        with_reasoning=is_train and config.loss.runs_continuation,
        with_keywords=is_train and config.loss.keyword_weight > 0,
        rationale_mode=config.data.rationale_mode if is_train else "aligned",
        seed=config.seed,
    )
    return encoder.encode(examples, description=f"tokenising {name}")


def build_model(config: RunConfig, rows: Rows, backbone: Backbone) -> DualHeadModel:
    """The model of a run, with a head drawn from the run's seed or kept from the artifact used as backbone.

    Raises:
        ModelError: The backbone does not support it, or could not be saved as a classifier.
        UserError: `model.keep_head` is set, but the backbone is not an artifact with a head that fits.
    """
    torch.manual_seed(config.seed)
    weights = {name: task.weight for name, task in (config.tasks or {}).items()}
    model = DualHeadModel(
        backbone,
        len(rows.labels),
        settings=config.model,
        loss=config.loss,
        label_loss=label_losses(config.loss, rows.labels, partial(label_mass, rows.train, rows.labels), weights),
        seed=config.seed,
    )
    if config.model.head_init == "label_words":
        for task in rows.labels.slices:
            model.start_from_words(task.labels.words, task.columns)
    if config.model.keep_head:
        keep_head(model, rows.labels, find_artifact(config.model.name_or_path, config.model.revision))
    if warning := check_can_be_saved(model):
        logger.warning("%s", warning)
    return model


def plan_updates(config: RunConfig, train: EncodedData, model: DualHeadModel, accelerator: Accelerator) -> Updates:
    """This process's training rows, in the order of the plan.

    Raises:
        ConfigError: `training.cache_frozen` is set, but the frozen layers are not deterministic; or
            `training.share_prefixes` is set, but the model cannot share text.
    """
    examples, training = train.examples, config.training
    updates = PlannedUpdates(
        examples=examples,
        num_labels=model.num_labels,
        num_tasks=model.num_tasks,
        pad_token_id=model.tokenizer.pad_token_id,
        lm_targets=config.loss.lm_targets,
        batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        num_processes=accelerator.num_processes,
        process_index=accelerator.process_index,
        seed=config.seed,
        sharing=choose_sharing(training, model),
        group_by_prefix=training.group_by_prefix,
    )
    if not config.training.cache_frozen:
        return updates
    return FrozenUpdates(updates=updates, model=model, accelerator=accelerator)


def run_identity(parts: Parts) -> dict[str, object]:
    """What must be equal for a run to resume: everything that decides its weights and how they are chosen."""
    data, accelerator = parts.data, parts.accelerator
    with gathered(parts.model):
        frozen = parts.model.frozen_fingerprint()
    return {
        "config": identity(parts.config),
        "rows": fingerprint(data.train.examples),
        "rows of choices": fingerprint(data.choose.examples),
        "validation rows": fingerprint(data.validation.examples),
        "labels": list(parts.rows.labels.names),
        "frozen weights": frozen,
        BACKBONE: config_fingerprint(parts.model.causal_lm.config),
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
    }


def resume(parts: Parts, checkpoints: Checkpoints, start: Path) -> Position:
    """Restore a checkpoint and continue after it.

    Raises:
        CheckpointError: It belongs to another run, or is damaged.
    """
    position, num_updates = checkpoints.restore(start, parts.state), parts.state.num_updates
    if not is_possible(position, parts.updates.updates_per_epoch, num_updates):
        raise CheckpointError(
            f"{start}: damaged (step {position.step}, epoch {position.epoch}, update {position.update} is not a "
            f"position of this run's {num_updates} updates); remove it to resume from the previous one"
        )
    logger.warning("resuming after step %d from %s", position.step, start)
    return position
