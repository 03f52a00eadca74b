"""What a user would pick instead of a causal backbone: an encoder, fine-tuned, or frozen under logistic regression.

Both see the rows, texts and labels of the other arms, pairs as one text; an input that is too long for the encoder is
shortened as theirs are. Of the settings they read `data` and `seed`, and fine-tuning reads `training`'s epochs, rates,
batch, schedule, weight decay, clipping and precision: its last weights count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from torch import Tensor
from torch.nn import functional as F

from dhrd._loading import no_loading_report
from dhrd.benchmark.measure import timed
from dhrd.config import RunConfig, TrainingSettings
from dhrd.data.batches import PlannedUpdates
from dhrd.data.inputs import InputEncoder
from dhrd.data.records import Batch, EncodedExample
from dhrd.data.rows import Rows, encode_labels
from dhrd.data.sequence import EncodedData, SequenceEncoder
from dhrd.data.templates import InputTemplate
from dhrd.data.tokens import prepare_tokenizer
from dhrd.errors import DataError, ModelError
from dhrd.experiments.cell_result import CellData, CellNumbers
from dhrd.inference.engine.batching import predict_logits, probabilities
from dhrd.losses import LabelLoss
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from dhrd.model.backbone import loading
from dhrd.model.foreign import NO_CODE, NO_PICKLE
from dhrd.model.location import locate
from dhrd.training.optim import make_schedule

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.utils import ModelOutput

    from dhrd.experiments.cells import Cell
    from dhrd.experiments.trained_cell import Clock

_BATCH_ROWS = 32  # of a forward pass without gradient
_C_VALUES = tuple(10.0**power for power in range(-2, 5))  # embeddings have length 1, so weights must be large
_NUM_FOLDS = 5
_NUM_TIMED = 2 * _BATCH_ROWS


def run_encoder(cell: Cell, rows: Rows, accelerator: Accelerator, clock: Clock) -> CellNumbers:
    """Train the classifier of a cell whose arm names an encoder, and read its answers.

    Raises:
        ModelError: The encoder cannot be loaded.
        DataError: A row cannot be encoded, or logistic regression has too few rows or several labels a row.
    """
    with clock("load"):
        encoder = _Encoder.load(cell, rows, accelerator)
        train, held_out = encoder.encode(rows, cell.config)
    steps, num_tokens = 0, 0  # updates, and tokens through them, padding left out
    if cell.arm.read == "embeddings":
        with clock("train"):
            classifier = _fit_regression(encoder.embed(train.examples), rows, cell.config.seed)
        with clock("evaluate"):
            proba_BC = np.zeros((len(held_out), len(rows.labels)))
            proba_BC[:, classifier.classes_] = classifier.predict_proba(encoder.embed(held_out.examples))
    else:
        with clock("train"):
            steps, num_tokens = encoder.fine_tune(train.examples, rows, cell.config)
        with clock("evaluate"):
            logits_BC = encoder.classify(held_out.examples)
            proba_BC = probabilities(logits_BC, multi_label=rows.labels.multi_label)
    outcomes = Outcomes.of_encoded(held_out.examples, proba_BC, rows.labels)
    return CellNumbers(
        metrics=compute_metrics(outcomes, task=rows.task, intervals=False),
        outcomes=outcomes,
        selected_on=cell.fold is not None,
        data=CellData.of(rows, train, held_out),
        curve=[],
        steps=steps,
        train_tokens=num_tokens,
    )


def _not_an_encoder(what: str, error: BaseException) -> ModelError:
    return ModelError(
        f"{what} cannot be loaded as an encoder: give `encoder` a hub name, a directory or "
        f"package:NAME/DIRECTORY ({' '.join(str(error).split())})"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRates:
    """Seconds for a row: in an epoch of training (to embed it, where the encoder is frozen), and to read its answer."""

    train_s: float
    read_s: float


def encoder_rates(cell: Cell, rows: Rows, accelerator: Accelerator) -> EncoderRates:
    """Time an encoder on a few of a cell's rows; loading and logistic regression are left out."""
    few = replace(rows, train=rows.train[:_NUM_TIMED], validation=rows.validation[:_NUM_TIMED])
    encoder = _Encoder.load(cell, rows, accelerator)
    train, held_out = (part.examples for part in encoder.encode(few, cell.config))
    if cell.arm.read == "embeddings":
        seconds = timed(encoder.embed, held_out)[0] / len(held_out)
        return EncoderRates(train_s=seconds, read_s=seconds)
    once = cell.config.model_copy(update={"training": cell.config.training.model_copy(update={"num_epochs": 1})})
    trained_s, read_s = timed(encoder.fine_tune, train, rows, once)[0], timed(encoder.classify, held_out)[0]
    return EncoderRates(train_s=trained_s / len(train), read_s=read_s / len(held_out))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoder:
    """An encoder of transformers with its tokenizer, on the accelerator's device."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    accelerator: Accelerator

    @classmethod
    def load(cls, cell: Cell, rows: Rows, accelerator: Accelerator) -> _Encoder:
        """Load what a cell needs; a classification head is drawn from the run's seed.

        Raises:
            ModelError: It is not there, or not a model of transformers.
        """
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

        name = cell.arm.encoder
        assert name is not None
        classifies = cell.arm.read == "encoder"
        kind = AutoModelForSequenceClassification if classifies else AutoModel
        torch.manual_seed(cell.config.seed)
        location = locate(name)
        what = f"the arm {cell.arm.name}: {name}"
        with no_loading_report(), loading(location, lambda error: _not_an_encoder(what, error)):
            tokenizer = AutoTokenizer.from_pretrained(**location, **NO_CODE)
            config = AutoConfig.from_pretrained(**location, **NO_CODE)
            config.num_labels = len(rows.labels)
            model = kind.from_pretrained(**location, config=config, dtype=torch.float32, **NO_PICKLE)
        prepare_tokenizer(tokenizer, name)
        model.config.pad_token_id = tokenizer.pad_token_id
        return cls(model=model.to(accelerator.device), tokenizer=tokenizer, accelerator=accelerator)

    def encode(self, rows: Rows, config: RunConfig) -> tuple[EncodedData, EncodedData]:
        """Training and held-out rows as tokens.

        Raises:
            DataError: A row cannot be encoded.
        """
        context = getattr(self.model.config, "max_position_embeddings", None) or self.tokenizer.model_max_length
        encoder = SequenceEncoder(
            inputs=InputEncoder(
                tokenizer=self.tokenizer,
                template=InputTemplate(rows.template),  # an encoder has no chat template
                max_input_tokens=min(config.data.max_input_tokens, context, self.tokenizer.model_max_length),
                mend_pad_ending=True,
            ),
            labels=rows.labels,
            with_reasoning=False,
        )
        train, held_out = (encoder.encode(part) for part in (rows.train, rows.validation))
        return train, held_out

    def embed(self, examples: Sequence[EncodedExample]) -> np.ndarray:
        """The mean of each row's hidden states, of length 1: (rows, D)."""

        def mean(batch: Batch) -> Tensor:
            hidden_BTD = self._forward(batch).last_hidden_state.float()
            return F.normalize((hidden_BTD * batch.attention_mask_BT[..., None]).sum(1))

        return self._read(mean, examples)

    def classify(self, examples: Sequence[EncodedExample]) -> np.ndarray:
        """Class logits: (rows, C)."""
        return self._read(lambda batch: self._forward(batch).logits, examples)

    def _read(self, forward: Callable[[Batch], Tensor], examples: Sequence[EncodedExample]) -> np.ndarray:
        self.model.eval()
        return predict_logits(
            forward,
            [example.input_ids for example in examples],
            pad_token_id=self.tokenizer.pad_token_id,
            batch_size=_BATCH_ROWS,
            device=self.accelerator.device,
        )

    def _forward(self, batch: Batch) -> ModelOutput:
        with self.accelerator.autocast():
            return self.model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT.long())

    def fine_tune(self, examples: Sequence[EncodedExample], rows: Rows, config: RunConfig) -> tuple[int, int]:
        """Train all weights; the rows come in the updates of `data/plan.py`.

        Returns:
            (updates, tokens).
        """
        settings, accelerator = config.training, self.accelerator
        updates = PlannedUpdates(
            examples=examples,
            num_labels=len(rows.labels),
            pad_token_id=self.tokenizer.pad_token_id,
            batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.gradient_accumulation_steps,
            seed=config.seed,
        )
        num_updates = updates.updates_per_epoch * settings.num_epochs
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(_parameter_groups(self.model, settings))
        schedule = make_schedule(optimizer, settings, num_updates)
        if accelerator.scaler is not None:
            optimizer = accelerator.prepare_optimizer(optimizer)
        num_tokens = 0
        self.model.train()
        for epoch in range(settings.num_epochs):
            for update in updates.epoch(epoch):
                num_tokens += self._backward(update, multi_label=rows.labels.multi_label)
                if settings.clip_norm is not None:
                    accelerator.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        return num_updates, num_tokens

    def _backward(self, update: Sequence[Batch], *, multi_label: bool) -> int:
        """The gradient of the mean label loss over an update's rows; returns its tokens."""
        label_loss = LabelLoss(multi_label=multi_label)
        count = float(sum(label_loss.count(batch) for batch in update)) or 1.0
        for batch in update:
            batch = batch.to(self.accelerator.device)
            self.accelerator.backward(label_loss(self._forward(batch).logits, batch) / count)
        return sum(batch.num_tokens for batch in update)


def _parameter_groups(model: PreTrainedModel, settings: TrainingSettings) -> list[dict[str, Any]]:
    """The rates and the decay that the other arms' optimizer has, parameter by parameter."""
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    head_rate = settings.head_learning_rate or settings.learning_rate
    return [
        {
            "params": [parameter],
            "lr": settings.learning_rate if id(parameter) in encoder else head_rate,
            "weight_decay": settings.weight_decay if parameter.ndim >= 2 else 0.0,
        }
        for parameter in model.parameters()
    ]


def _fit_regression(embedding_BD: np.ndarray, rows: Rows, seed: int) -> LogisticRegression:
    """Logistic regression whose C has the best accuracy in cross-validation over the training rows, groups kept whole.

    Raises:
        DataError: Rows may have several labels, or are too few for two folds.
    """
    if rows.labels.multi_label:
        raise DataError("the arm embeddings needs one label per row, but these rows may have several; leave it out")
    label_B = encode_labels(rows.train, rows.labels).argmax(1)
    groups = [index if row.group is None else row.group for index, row in enumerate(rows.train)]
    places = sorted(len({groups[index] for index in np.flatnonzero(label_B == label)}) for label in set(label_B))
    num_folds = min(_NUM_FOLDS, places[-2] if len(places) > 1 else 0)
    if num_folds < 2:
        raise DataError(
            "the arm embeddings needs rows of two labels in two groups or more each to choose C (a row without a group "
            "is one); add rows, or leave it out"
        )
    search = GridSearchCV(
        LogisticRegression(max_iter=1000),
        {"C": _C_VALUES},
        cv=StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed),
    )
    return search.fit(embedding_BD, label_B, groups=groups).best_estimator_
