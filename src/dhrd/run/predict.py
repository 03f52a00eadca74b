"""`predict`: rows labelled in order, in constant memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dhrd._progress import track
from dhrd.config import RunConfig
from dhrd.inference.classifier import Classifier
from dhrd.run.rows import open_rows
from dhrd.training.run_dir import read_run

logger = logging.getLogger("dhrd")


def predict(
    model_dir: str | Path,
    data: Any,
    *,
    split: str = "test",
    config: RunConfig | None = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Label rows, in order, in constant memory.

    Args:
        model_dir: What `train` wrote.
        data: As `data.train` of a config, or rows; labels are not needed.
        split: Of `superglue:` and `hub:`.
        config: Column names; None: as in training.
        **options: As `Classifier.from_pretrained`'s: `device`, `dtype`, `max_tokens_per_pass`, `share_prefixes`,
            `compile`, `strict`.

    Yields:
        `id`, `label`, `probabilities`.

    Raises:
        UserError: The artifact or a row cannot be used; rows before it were yielded.
    """
    classifier = Classifier.from_pretrained(model_dir, **options)
    config = config or read_run(Path(model_dir)) or RunConfig()
    examples = open_rows(data, split, config, classifier.info).examples(labels_required=False)
    for prediction in track(classifier.stream(examples), "predicting"):
        yield {"id": prediction.id, "label": prediction.label, "probabilities": prediction.probabilities}
    if classifier.num_cut or classifier.num_mended:
        logger.warning(
            "%d inputs were shortened to %d tokens; %d ended in the padding token and got a newline",
            classifier.num_cut,
            classifier.info.max_input_tokens,
            classifier.num_mended,
        )
