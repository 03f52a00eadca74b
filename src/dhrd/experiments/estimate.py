"""How long cells will take, from a measured step of each kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from dhrd.benchmark.measure import timed
from dhrd.data.records import EncodedExample
from dhrd.evaluation.live import LiveModel
from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import Cell
from dhrd.experiments.encoders import EncoderRates, encoder_rates
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.generation import generate
from dhrd.training.build import build
from dhrd.training.setup import make_accelerator
from dhrd.training.step import train_step

_NUM_DECODED_TOKENS = 8

_EncoderKind = tuple[str, str, str | None, int]
"""Task, how labels are read, the encoder and the rows of an update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rates:
    """What this machine does in a second.

    Args:
        trained: Tokens through an update.
        read: Tokens through a forward pass.
        decode_step_s: Seconds for one new token of every row of a batch.
    """

    trained: float
    read: float
    decode_step_s: float


def estimate(cells: Sequence[Cell], cache: Cache) -> dict[str, float]:
    """Seconds that cells will take one after the other on this machine; loading is left out.

    One update, one forward pass and a few decoded tokens are timed for each kind of cell: backbone, what is trained,
    with and without reasoning. Answers that are decoded are taken to be as long as the rationales; an untrained
    backbone's as long as is allowed.

    Returns:
        Key of a cell -> seconds.
    """
    rates: dict[str, _Rates] = {}
    encoders: dict[_EncoderKind, EncoderRates] = {}
    seconds = {}
    for cell in cells:
        if cell.arm.encoder is not None:
            seconds[cell.key] = _encoder_seconds(cell, cache, encoders)
            continue
        kind = _kind(cell)
        if kind not in rates:
            rates[kind] = _measure(cell, cache)
        seconds[cell.key] = _seconds(cell, cache, rates[kind])
    return seconds


def _encoder_seconds(cell: Cell, cache: Cache, known: dict[_EncoderKind, EncoderRates]) -> float:
    rows = cache.rows(cell.config, cell.fold)
    kind = (cell.task, cell.arm.read, cell.arm.encoder, cell.config.training.batch_size)
    if kind not in known:
        known[kind] = encoder_rates(cell, rows, make_accelerator(cell.config, cache.device))
    num_epochs = cell.config.training.num_epochs if cell.arm.trained else 1
    return num_epochs * len(rows.train) * known[kind].train_s + len(rows.validation) * known[kind].read_s


def _kind(cell: Cell) -> str:
    config, decodes = cell.config, cell.arm.read == "decode"
    parts = [config.model.model_dump(mode="json"), config.training.batch_size, config.loss.names]
    return json.dumps([*parts, cell.arm.trained, decodes, decodes and cell.decoding.batch_size])


def _measure(cell: Cell, cache: Cache) -> _Rates:
    config = cell.config
    rows = cache.rows(config, cell.fold)
    backbone = cache.backbone(config)
    data = cache.encoded(cell, rows)
    parts = build(config, rows, backbone, cache.device, data=data)
    model, updates, state = parts.model, parts.updates, parts.state
    trained = 1.0
    if cell.arm.trained:
        epoch = updates.epoch(0)
        first = next(epoch)
        train_step(state, first, 1)  # the first update allocates the optimizer's state
        trained = train_step(state, next(epoch, first), 2)["tokens_per_second"]
    some = data.validation.examples[:8]
    seconds, _ = timed(LiveModel.of(model, parts.accelerator).predict, some, rows.labels)
    decode_step_s = 0.0
    if cell.arm.read == "decode":
        prompts = [example.input_ids for example in data.validation.examples[: cell.decoding.batch_size]]
        decode_step_s = timed(_decode, model, prompts)[0] / _NUM_DECODED_TOKENS
    return _Rates(trained=trained, read=_num_tokens(some) / seconds, decode_step_s=decode_step_s)


def _decode(model: DualHeadModel, prompts: Sequence[Sequence[int]]) -> None:
    generate(model.causal_lm, model.tokenizer, prompts, max_new_tokens=_NUM_DECODED_TOKENS, batch_size=len(prompts))


def _seconds(cell: Cell, cache: Cache, rates: _Rates) -> float:
    config = cell.config
    rows = cache.rows(config, cell.fold)
    data = cache.encoded(cell, rows)
    train, held_out = data.train.examples, data.validation.examples
    seconds = 0.0
    if cell.arm.trained:
        seconds += config.training.num_epochs * _num_tokens(train) / rates.trained
    if cell.arm.read != "decode":
        passes = len(rows.labels) if cell.arm.read == "label_scores" else 1
        return seconds + passes * _num_tokens(held_out) / rates.read
    num_rows = min(len(held_out), cell.decoding.limit or len(held_out))
    num_batches = -(-num_rows // cell.decoding.batch_size)
    return seconds + num_batches * rates.decode_step_s * _answer_length(cell, train)


def _answer_length(cell: Cell, train: Sequence[EncodedExample]) -> float:
    lengths = [len(example.continuation_ids) for example in train if example.continuation_ids]
    if not cell.arm.trained or not lengths:
        return cell.decoding.max_new_tokens
    return min(cell.decoding.max_new_tokens, fmean(lengths))


def _num_tokens(examples: Sequence[EncodedExample]) -> int:
    return sum(len(example.input_ids) + len(example.continuation_ids) for example in examples)
