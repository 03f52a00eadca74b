"""Making a tokenizer fit for classification."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dhrd.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger("dhrd")


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str = "the tokenizer") -> bool:
    """Pad and cut on the right; make eos the padding token where there is none, and say so.

    Args:
        tokenizer: Changed in place.
        name: Where it comes from, for messages.

    Returns:
        Whether eos was made the padding token.

    Raises:
        ModelError: There is neither.
    """
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.is_fast:  # some come with both, which the first call takes off, whoever else is calling
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    if tokenizer.pad_token is not None:
        return False
    if tokenizer.eos_token is None:
        raise ModelError(
            f"{name}: the tokenizer has neither a pad nor an eos token; set tokenizer.pad_token and save it again"
        )
    tokenizer.pad_token = tokenizer.eos_token
    logger.warning("%s has no padding token; its eos token %r pads from now on", name, tokenizer.eos_token)
    return True
