"""The content words of rationales: what the classified vector is asked to know of them (`loss.keyword_weight`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from dhrd.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_KEYWORDS = 16
_MAX_SHARE = 0.5  # a token in more of the rationales than this tells rows apart no better than "the"


def keyword_ids(
    rationales: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, *, left_out: Collection[int]
) -> list[tuple[int, ...]]:
    """The tokens of each rationale with the highest tf-idf within the training set, each once.

    Tokens without a letter or digit, those of one rationale alone and those of most of them are no content.

    Args:
        rationales: Token ids; empty where a row has none.
        tokenizer: Tells what a token spells.
        left_out: Tokens that are no keywords, such as the labels' own words.

    Returns:
        At most `MAX_KEYWORDS` tokens a row, in ascending order.

    Raises:
        DataError: No token is left in any rationale.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    given = [row for row, ids in enumerate(rationales) if ids]
    spelled = {token for row in given for token in rationales[row]} - set(left_out)
    content = {token for token in spelled if any(sign.isalnum() for sign in tokenizer.decode([token]))}
    vectorizer = TfidfVectorizer(
        analyzer=lambda row: [token for token in rationales[row] if token in content], min_df=2, max_df=_MAX_SHARE
    )
    try:
        weights = vectorizer.fit_transform(given)
    except ValueError as error:
        raise DataError(
            "loss.keyword_weight: the rationales have no content words in common (each must occur in at least two of "
            f"them, and in at most {_MAX_SHARE:.0%}); give more rationales, or set it to 0"
        ) from error
    tokens = vectorizer.get_feature_names_out()
    keywords: list[tuple[int, ...]] = [()] * len(rationales)
    for row, weight in zip(given, weights, strict=True):
        best = sorted(zip(-weight.data, weight.indices, strict=True))[:MAX_KEYWORDS]
        keywords[row] = tuple(sorted(int(tokens[index]) for _, index in best))
    return keywords
