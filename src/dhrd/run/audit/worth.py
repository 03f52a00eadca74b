"""What a rationale is worth to a trained model: how much likelier its row's label is to the model that has read it.

    worth = log p(y | x, r) − log p(y | x)      in nats; what a rationale tells beyond its input, in the spirit of REV
                                                (Chen et al. 2023, arXiv 2210.04982)

One forward pass a row, as in training, has both: the classification head gives p(y | x) from the input's pooled vector,
and the reasoning head p(y | x, r) at the label's words, once rationale and answer marker are read. A classification
head is often too sure, and beside it most good rationales would be worth less than nothing. So its logits are divided
by the temperature that fits these rows best.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor

from dhrd._progress import track
from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.data.buckets import buckets
from dhrd.data.collate import collate
from dhrd.data.digest import digest_of
from dhrd.data.label_space import check_one_task
from dhrd.data.records import IGNORE, Batch, EncodedExample, Example
from dhrd.data.rows import multi_hot
from dhrd.data.sequence import SequenceEncoder
from dhrd.errors import ConfigError, DataError
from dhrd.inference.classifier import Classifier
from dhrd.metrics.calibration import fit_temperature
from dhrd.model.backbone import logit_transform
from dhrd.model.pooling import last_hidden_states, pool
from dhrd.rationales.audit.audit import Audit
from dhrd.rationales.audit.flags import Audited, Flag
from dhrd.run.trained import num_trained

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger("dhrd")

_FEWEST_FOR_TEMPERATURE = 20  # rows: fewer fit anything


def with_worth(audit: Audit, model_dir: str | Path, *, least: float | None = None, **options: Any) -> Audit:
    """An audit with the worth of each rationale that is of a labelled row.

    Args:
        audit: Of a file of rationales.
        model_dir: What `train` wrote, with a reasoning head.
        least: Rationales that are worth less get the flag `worthless`; None: none does.
        **options: As `Classifier.from_pretrained`'s.

    Raises:
        ArtifactError: It is no artifact, or has no classifier.
        ConfigError: Its reasoning head learned nothing, or names the label before it reasons, or rows may have several
            labels.
        DataError: No row has a label, or one has a label that the model does not know, or cannot be encoded.
    """
    measured = {index: replace(line.example, rationale=line.text) for index, line in enumerate(audit.lines)
                if line.text and line.example is not None and line.example.label is not None}  # fmt: skip
    if not measured:
        raise DataError(f"{audit.rationales}: no rationale is of a labelled row of {audit.data}, so none has a worth")
    worths = rationale_worths(model_dir, list(measured.values()), **options)
    known = num_trained(model_dir, map(digest_of, measured.values()))
    if known:
        logger.warning(
            "%d of %d rows were trained on: what the model knows of them by heart no rationale can add to",
            known,
            len(measured),
        )
    lines = list(audit.lines)
    for index, worth in zip(measured, worths.tolist(), strict=True):
        lines[index] = _judged(lines[index], worth, least)
    return replace(audit, lines=lines)


def _judged(line: Audited, worth: float, least: float | None) -> Audited:
    flags = line.flags
    if least is not None and worth < least:
        flags = (*flags, Flag("worthless", f"the label is {worth:+.2f} nats likelier to the model that has read it"))
    return replace(line, worth=worth, flags=flags)


def rationale_worths(model_dir: str | Path, examples: Sequence[Example], **options: Any) -> np.ndarray:
    """The worth of each row's rationale, (N,), in nats.

    Args:
        model_dir: What `train` wrote, with a reasoning head.
        examples: N rows with a label and a rationale.
        **options: As `Classifier.from_pretrained`'s.

    Raises:
        UserError: As `with_worth`.
    """
    check_can_tell_worth(model_dir, read_info(model_dir))
    classifier = Classifier.from_pretrained(model_dir, **options)
    info, model = classifier.info, classifier.reasoner().model
    encoder = SequenceEncoder(
        inputs=classifier.encoder,
        labels=info.labels,
        max_sequence_tokens=info.max_sequence_tokens,
        template=info.sequence,
    )
    encoded = encoder.encode(examples).examples
    answers = encoder.inputs.tokens.all(
        [info.sequence.answer + word for word in info.labels.words], special_tokens=False
    )
    num_common = sum(1 for _ in takewhile(lambda tokens: len({*tokens}) == 1, zip(*answers, strict=False)))
    told_N, logits_NC = np.zeros(len(encoded)), np.zeros((len(encoded), len(info.labels)))
    lengths = [len(row.input_ids) + len(row.continuation_ids) for row in encoded]
    for rows in track(buckets(lengths, classifier.engine.options.max_tokens_per_pass), "rationales"):
        some = [encoded[row] for row in rows]
        told_B, logits_BC = _both_heads(classifier, model, some, num_common)
        told_N[rows], logits_NC[rows] = told_B.double().cpu().numpy(), logits_BC.double().cpu().numpy()
    return told_N - _known(logits_NC, multi_hot([row.label for row in encoded], len(info.labels)))


def _known(logits_NC: np.ndarray, gold_NC: np.ndarray) -> np.ndarray:
    """log p(y | x) of each row's label by the classification head, as sure as it is right, (N,)."""
    if len(logits_NC) >= _FEWEST_FOR_TEMPERATURE:
        logits_NC = logits_NC / fit_temperature(logits_NC, gold_NC)
    return log_softmax(logits_NC, axis=1)[gold_NC.astype(bool)]


def check_can_tell_worth(model_dir: str | Path, info: ArtifactInfo) -> None:
    """Refuse an artifact that does not say how likely a label is after a rationale.

    Raises:
        ConfigError: With the reason.
    """
    if not info.reasons:
        raise ConfigError(
            f"{model_dir}: trained with loss.reasoning_weight: 0, so its reasoning head learned nothing and cannot say "
            "what a rationale is worth; give a model that was trained with rationales"
        )
    check_one_task(info.labels, "the worth of a rationale")
    if info.labels.multi_label:
        raise ConfigError(f"{model_dir}: its rows may have several labels; a rationale's worth is told for one label")


@torch.inference_mode()
def _both_heads(
    classifier: Classifier, model: PreTrainedModel, examples: Sequence[EncodedExample], num_common: int
) -> tuple[Tensor, Tensor]:
    """log p(y | x, r) of some rows, (B,), and the classification head's logits, (B, C).

    Args:
        classifier: Its head.
        model: Its reasoning head, with the backbone.
        examples: The rows.
        num_common: Tokens with which all answers begin: they tell nothing of the label.
    """
    info = classifier.info
    batch = collate(
        examples,
        pad_token_id=classifier.tokenizer.pad_token_id,
        num_labels=len(info.labels),
        lm_targets="continuation",
    ).to(model.device)
    hidden_BTD = last_hidden_states(model.base_model, batch)
    logits_BC = classifier.head(pool(hidden_BTD, batch, info.pooling))
    starts = [len(row.input_ids) + row.reason_end + num_common for row in examples]
    return _answer_log_probs(model, hidden_BTD, batch, torch.tensor(starts, device=model.device)), logits_BC


def _answer_log_probs(model: PreTrainedModel, hidden_BTD: Tensor, batch: Batch, start_B: Tensor) -> Tensor:
    """log p of each row's tokens from a position on, (B,)."""
    assert batch.target_BT is not None
    places_T = torch.arange(batch.target_BT.shape[1], device=start_B.device)
    chosen_BT = (batch.target_BT != IGNORE) & (places_T >= start_B[:, None] - 1)
    logits_NV = logit_transform(model.config)(model.get_output_embeddings()(hidden_BTD[chosen_BT])).float()
    log_p_N = logits_NV.log_softmax(1).gather(1, batch.target_BT[chosen_BT][:, None])[:, 0]
    return torch.zeros(len(start_B), device=start_B.device).index_add(0, chosen_BT.nonzero()[:, 0], log_p_N)
