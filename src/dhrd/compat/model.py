"""The DHRD documents' model, with their four arguments."""

from __future__ import annotations

from collections.abc import Sequence

from dhrd.config import LossSettings, ModelSettings, resolve
from dhrd.losses import LabelLoss
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.model.dual_head import DualHeadModel


class DualHeadReasoningModel(DualHeadModel):
    """The dual-head model with the DHRD documents' constructor.

    Args:
        model_name_or_path: Hub name, directory, `.gguf` file or `package:NAME/FILE.gguf`.
        num_labels: Number of labels, C.
        dropout_prob: Dropout before the classification head.
        loss_weight_alpha: The documents' α: the weight of L_cls; L_lm gets 1 − α. Ignored if `loss` is given.
        settings: All settings of the model; `model_name_or_path` and `dropout_prob` are ignored if given.
        loss: Weights and options of the losses; read the training rows for them with `load_json_dataset(…, loss=…)`.
        backbone: A loaded backbone, modified in place; None: load it by name.
        label_loss: The classification loss, in place of `loss.class_weights` and `loss.label_smoothing`; None:
            `DHRDTrainer` makes it of these for its rows' labels, of which a row may have one or several.
        label_words: The words with which the reasoning head writes each label, for `head_init: label_words`.
        seed: Seed of the head's initial weights.

    Raises:
        ModelError: The backbone cannot be loaded, its LM logits are not those of its own forward pass, or two
            labels have the same words.
    """

    def __init__(
        self,
        model_name_or_path: str = "gpt2",
        num_labels: int = 2,
        dropout_prob: float = 0.1,
        loss_weight_alpha: float = 0.5,
        *,
        settings: ModelSettings | None = None,
        loss: LossSettings | None = None,
        backbone: Backbone | None = None,
        label_loss: LabelLoss | None = None,
        label_words: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        given = resolve({"model": {"name_or_path": model_name_or_path, "dropout": dropout_prob,
                                   "loss_weight_alpha": loss_weight_alpha}})  # fmt: skip
        settings = settings or given.model
        loaded = backbone or load_backbone(settings, seed=seed)
        super().__init__(
            loaded, num_labels, settings=settings, loss=loss or given.loss, label_loss=label_loss, seed=seed
        )
        if settings.head_init == "label_words":
            self.start_from_words(label_words)
