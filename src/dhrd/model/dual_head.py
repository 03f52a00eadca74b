"""The model: one backbone, a classification head on the input's last token, a reasoning head on every token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.utils import ModelOutput

from dhrd.config import LossSettings, ModelSettings
from dhrd.config.losses import LossName
from dhrd.data.records import IGNORE, Batch, LabelSet
from dhrd.errors import ModelError
from dhrd.lm_loss import LogitTransform, reasoning_loss
from dhrd.losses import (
    LabelLoss,
    keyword_loss,
    loss_terms,
    privileged_loss,
)
from dhrd.model.adapters import add_lora, freeze_lower
from dhrd.model.backbone import Backbone, check_fits, logit_transform
from dhrd.model.frozen import instead_of_frozen, mode
from dhrd.model.heads import ClassificationHead, label_word_rows
from dhrd.model.pooling import LaidOut, last_hidden_states, pool, states_at


@no_type_check  # for mixed precision accelerate rebuilds it as `ModelOutput`s may be: from one mapping of all fields
@dataclass
class DualHeadOutput(ModelOutput):
    """The result of one forward pass.

    Args:
        logits_BC: Class logits, fp32.
        losses: The sum of each loss with a nonzero weight, by name, if the batch has labels.
    """

    logits_BC: Float[Tensor, "B C"] | None = None
    losses: dict[str, Tensor] | None = None


class DualHeadModel(nn.Module):
    """A causal language model with a classification head (paper, section 3).

        logits = head(pool(h of x))                     used in training and at inference
        LM logits = lm_head(h[t]) for target t          used in training only

    One forward pass gives both losses: attention is causal and the input is a prefix of the sequence, so the hidden
    state at its last token is the same whether or not the rationale follows.

    Args:
        backbone: Changed in place.
        num_labels: C.
        settings: Settings of the head and of what is trained; the backbone is already loaded.
        loss: The losses' weights and options.
        label_loss: L_cls, or one per task by name; None: plain cross-entropy with `loss.label_smoothing`.
        seed: Seed of the head's initial weights.

    Raises:
        ModelError: The LM logits computed here differ from those of the backbone's own forward pass.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_labels: int,
        *,
        settings: ModelSettings | None = None,
        loss: LossSettings | None = None,
        label_loss: LabelLoss | Mapping[str, LabelLoss] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.labels: LabelSet | None = None  # that `DHRDTrainer` trained it on, for `DHRDEvaluator`
        self.settings, self.loss_settings = settings or ModelSettings(), loss or LossSettings()
        self.tokenizer, self.backbone_name, self.causal_lm = backbone.tokenizer, backbone.name, backbone.model
        check_fits(backbone, uses_lm_head=bool({"reasoning", "keyword"} & set(self.loss_settings.names)))
        if not self.settings.lora:  # a bf16 weight loses most updates: they are below its resolution
            self.causal_lm.float()
        self._transform = logit_transform(self.causal_lm.config)
        check_reasoning_head(self)
        self.is_label_loss_given = label_loss is not None  # else `DHRDTrainer` makes that of its rows' labels
        label_loss = label_loss or LabelLoss(smoothing=self.loss_settings.label_smoothing)
        self.set_label_losses({"": label_loss} if isinstance(label_loss, LabelLoss) else label_loss)
        self.head = ClassificationHead(
            head_width(self.causal_lm), num_labels, kind=self.settings.head, dropout=self.settings.dropout, seed=seed
        ).to(self.causal_lm.device)
        self.adapted = add_lora(self.causal_lm, self.settings.lora) if self.settings.lora else []
        freeze_lower(self.causal_lm, self.settings.freeze_layers)
        self._freeze_unused()

    @property
    def num_labels(self) -> int:
        """C."""
        return self.head.score.out_features

    def set_label_losses(self, label_losses: Mapping[str, LabelLoss]) -> None:
        """Learn the labels by these, one per task by name; that of the only task has the name ""."""
        self.num_tasks, self.terms = len(label_losses), loss_terms(self.loss_settings.names, label_losses)

    def start_from_words(self, words: Sequence[str], columns: slice = slice(None)) -> None:
        """Initialise the head with the LM head's rows for each label's word (`model.head_init: label_words`).

        Args:
            words: How the reasoning head writes each label, C.
            columns: The task's columns, if the words are one task's labels.

        Raises:
            ModelError: The number of words is not C, or two labels have the same words.
        """
        rows_CD = self.head.score.weight.data[columns]
        if len(words) != len(rows_CD):
            raise ModelError(f"model.head_init: label_words needs {len(rows_CD)} words, one per label; got {words}")
        rows_CD.copy_(label_word_rows(self.causal_lm, self.tokenizer, words))

    def forward(self, batch: Batch) -> DualHeadOutput:
        """Class logits, and the losses where the batch has labels.

        Args:
            batch: See `data/records.py`; sequences with or without a continuation.
        """
        hidden_SWD = self.hidden_states(batch)
        pooled_BD = pool(hidden_SWD, batch, self.settings.pooling)
        logits_BC = self.head(pooled_BD)
        if batch.label_BC is None:
            return DualHeadOutput(logits_BC=logits_BC)
        losses: dict[LossName, Callable[[LabelLoss], Tensor]] = {
            "classification": lambda label_loss: label_loss(logits_BC, batch),
            "reasoning": lambda _: self.reasoning_loss(hidden_SWD, batch),
            "keyword": lambda _: self.keyword_loss(pooled_BD, batch),
            "privileged": lambda label_loss: self.privileged_loss(logits_BC, hidden_SWD, batch, label_loss),
        }
        summed = {name: losses[term.kind](term.label_loss) for name, term in self.terms.items()}
        return DualHeadOutput(logits_BC=logits_BC, losses=summed)

    def loss_counts(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """The divisor of each loss of a batch, known before the forward pass."""
        return {name: term.count(batch) for name, term in self.terms.items()}

    def hidden_states(self, batch: Batch) -> LaidOut:
        """Last hidden states, after the final norm, of the sequences as they are run."""
        with instead_of_frozen(self, batch):
            return last_hidden_states(self.causal_lm.base_model, batch)

    def reasoning_loss(self, hidden_SWD: LaidOut, batch: Batch) -> Tensor:
        """L_lm at the batch's target positions.

        Without targets it is 0, with the graph still running through the LM head, as distributed training needs.
        """
        if (tree := batch.tree) is not None:
            assert tree.target_place_N is not None and tree.target_N is not None
            hidden_ND = hidden_SWD.flatten(0, 1)[tree.target_place_N]
            return reasoning_loss(hidden_ND, tree.target_N, *self._lm_head(), count_N=tree.target_count_N)
        assert batch.target_BT is not None
        places = (batch.target_BT != IGNORE).nonzero(as_tuple=True)  # found once: a GPU is waited for
        return reasoning_loss(hidden_SWD[places], batch.target_BT[places], *self._lm_head())

    def keyword_loss(self, pooled_BD: Float[Tensor, "B D"], batch: Batch) -> Tensor:
        """L_kw of the batch's rationales."""
        assert batch.keyword_2K is not None
        return keyword_loss(pooled_BD, batch.keyword_2K, *self._lm_head())

    def privileged_loss(
        self, logits_BC: Float[Tensor, "B C"], hidden_SWD: LaidOut, batch: Batch, label_loss: LabelLoss
    ) -> Tensor:
        """L_pv of the batch's rationales."""
        assert batch.reason_end_B is not None
        privileged_BC = self.head(states_at(hidden_SWD, batch, batch.reason_end_B.clamp(min=0)))
        return privileged_loss(logits_BC, privileged_BC, batch, label_loss)

    def _lm_head(self) -> tuple[Tensor, Tensor | None, LogitTransform]:
        head = self.causal_lm.get_output_embeddings()
        return head.weight, getattr(head, "bias", None), self._transform

    def trained_state(self) -> dict[str, Tensor]:
        """The tensors that training changes, by name: what a checkpoint holds."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `trained_state` returned.

        Raises:
            ModelError: Names, shapes or dtypes differ.
        """
        own = {name: p for name, p in self.named_parameters() if p.requires_grad}
        if set(own) != set(state):
            odd = sorted(set(own) ^ set(state))
            raise ModelError(f"the weights do not fit this model: {len(odd)} names differ, for example {odd[0]}")
        for name, parameter in own.items():  # before any is changed: `copy_` would spread a single number over all
            found = state[name]
            if found.shape != parameter.shape or found.dtype != parameter.dtype:
                raise ModelError(
                    f"the weights do not fit this model: {name} is of {list(found.shape)} {found.dtype}, not "
                    f"{list(parameter.shape)} {parameter.dtype}"
                )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])

    def frozen_fingerprint(self) -> str:
        """A hash of the tensors that training does not change, which no checkpoint holds."""
        digest = hashlib.sha256()
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                # A copy: memory shared with numpy can no longer be freed by its owner, as shards of weights are.
                raw = parameter.detach().cpu().clone().contiguous().reshape(-1).view(torch.uint8)
                digest.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode())
                digest.update(raw.numpy().data)
        return digest.hexdigest()[:16]

    def _freeze_unused(self) -> None:
        """Freeze what gets no gradient with these loss weights: distributed training waits for every trained tensor."""
        if self.loss_settings.classification_weight == 0:
            self.head.requires_grad_(False)
        lm_head = self.causal_lm.get_output_embeddings()
        tied = lm_head.weight is self.causal_lm.get_input_embeddings().weight
        if not {"reasoning", "keyword"} & set(self.loss_settings.names) and not tied:
            lm_head.requires_grad_(False)


def head_width(causal_lm: Any) -> int:
    """D of the hidden states that both heads read."""
    return int(causal_lm.get_output_embeddings().weight.shape[1])


def check_reasoning_head(model: DualHeadModel) -> None:
    """Compare our LM logits with the backbone's own on a few tokens.

    A family may transform its logits in a way that its config does not declare by a known name: it is refused.

    Raises:
        ModelError: They differ.
    """
    causal_lm = model.causal_lm
    ids = torch.arange(4, device=causal_lm.device)[None] % causal_lm.config.get_text_config().vocab_size
    with torch.no_grad(), mode(causal_lm, training=False):
        head = causal_lm.get_output_embeddings()
        if head is None:
            raise ModelError(f"{type(causal_lm).__name__} has no LM head; DHRD needs a causal language model")
        if causal_lm.base_model is causal_lm:
            raise ModelError(
                f"{type(causal_lm).__name__} is not supported: transformers gives no body of it that runs without its "
                "LM head; use another backbone"
            )
        hidden = causal_lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
        ours = model._transform(head(hidden)).float()
        stock = causal_lm(input_ids=ids, use_cache=False).logits.float()
    tolerance = 1e-4 if causal_lm.dtype == torch.float32 else 5e-2
    if not torch.allclose(ours, stock, rtol=tolerance, atol=tolerance * float(stock.abs().max())):
        raise ModelError(
            f"{type(causal_lm).__name__} changes its LM logits in a way unknown to dhrd, so the reasoning "
            "loss would be wrong; please report the family"
        )
