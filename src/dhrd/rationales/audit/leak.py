"""Does a rationale give its label away? In words, and as measured by a model that reads it alone."""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from dhrd.data.records import LabelSet
from dhrd.rationales.audit.flags import Audited, Flag
from dhrd.rationales.audit.text import input_of, sentences, words

Folds = Sequence[tuple[np.ndarray, np.ndarray]]
_FOLDS = 5
_NUM_NGRAMS = 8
_ENOUGH_ROWS = 200
_MOST_ROWS = 5000  # more add little, and take minutes
_COMMON = frozenset({"yes", "no", "not", "none", "other", "all", "any", "some", "more", "less", "same", "one", "two"})
"""Labels so common as words that they give nothing away outside a verdict; so are single characters and numbers."""

_CONNECTIVE = r"(?:so|thus|hence|therefore|consequently|accordingly|overall|ultimately|in conclusion|in short)"
_FILLER = r"(?:(?:it|this|that|the|correct|right|answer|label|must|should|would|has|to|is|be|are|was|'s|’s)\s*)*"
_NOUN = r"(?:answer|label|verdict|conclusion|choice|option|class|category|classification|prediction|relation(?:ship)?)"
_COPULA = r"(?:is|are|was|be|becomes|remains)"
_OPEN, _CLOSE = r"[\"'“‘*]*", r"[\"'”’*)]*"
_BECAUSE = r"(?:because|since|as|for|due|given)\b"


@dataclass(frozen=True, slots=True)
class LeakPatterns:
    """What counts as naming a label.

    Args:
        words: Each gives a label away anywhere, unless the row's own text has it too.
        verdicts: Restatements of a verdict, whatever the row says.
    """

    words: tuple[re.Pattern[str], ...]
    verdicts: re.Pattern[str]

    def spans(self, text: str, own_text: str = "") -> list[tuple[int, int]]:
        """Where a rationale gives its label away, sorted; `own_text` is what its row says."""
        found = {match.span() for match in self.verdicts.finditer(text)}
        for word in self.words:
            matches = [match.span() for match in word.finditer(text)]
            if matches and not word.search(own_text):
                found.update(matches)
        within = {
            (a, b) for a, b in found for first, last in found if (a, b) != (first, last) and first <= a and b <= last
        }
        return sorted(found - within)


def leak_patterns(labels: LabelSet, *, forbid: Sequence[str] = (), allow: Sequence[str] = ()) -> LeakPatterns:
    """The patterns of a label set.

    Words as common as "no", single characters and numbers are a leak only in a verdict ("so the answer is no").

    Args:
        labels: The labels; their names and words match with `_` or spaces, and with English endings.
        forbid: Regular expressions for further words, specific to a task.
        allow: Label words that are not a leak, such as "return" in a shop's mail.

    Raises:
        re.error: An entry of `forbid` is not a valid regular expression.
    """
    allowed = {_plain(word) for word in allow}
    spelled = list(dict.fromkeys((*labels.words, *labels.names)))
    telling = [word for word in spelled if _plain(word) not in allowed and not _is_common(word)]
    patterns = [*map(_inflected, telling), *(f"(?:{pattern})" for pattern in forbid)]
    label = "(?:" + "|".join(map(_spelling, dict.fromkeys([*spelled, "yes", "no"]))) + r")(?!\w)"
    # "no", and not "no longer": what follows ends the clause, or gives the reason.
    alone = rf"{_OPEN}{label}{_CLOSE}(?=\s*(?:[.,;:!?–—]|-\s|$)|\s+{_BECAUSE})"
    verdicts = (
        rf"\b(?:is|was) (?:the|a) (?:correct|right|gold|best) {_NOUN}\b",
        rf"\b(?:correct|right|gold) {_NOUN} {_COPULA}\b",
        rf"\b{_NOUN}\s+(?:\w+\s+){{0,3}}?{_COPULA}\s+(?:\w+ly\s+|then\s+|thus\s+)?{alone}",
        rf"\b{_NOUN}\s*[:=]\s*{alone}",
        rf"\b{_CONNECTIVE}\b,?\s+(?:{_FILLER}|(?:[\w'’]+\s+){{0,4}}?{_COPULA}\s+){alone}",
        rf"(?:^|[.!?]{_CLOSE}\s+){alone}",
    )
    return LeakPatterns(
        words=tuple(re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE) for pattern in patterns),
        verdicts=re.compile("|".join(verdicts), re.IGNORECASE | re.MULTILINE),
    )


def _plain(word: str) -> str:
    return " ".join(re.split(r"[\s_-]+", word)).casefold()


def _spelling(word: str) -> str:
    return r"[\s_-]+".join(re.escape(part) for part in re.split(r"[\s_-]+", word) if part) or re.escape(word)


def _inflected(word: str) -> str:
    """With an English verb's or noun's endings: refuse, refuses, refused, refusing; ship, shipped."""
    spelling = _spelling(word)
    if not word.isascii() or not word[-1].isalpha():
        return spelling
    if word.endswith("e"):
        return rf"{spelling[:-1]}(?:e|es|ed|ing)"
    return rf"{spelling}(?:s|es|{re.escape(word[-1])}?(?:ed|ing))?"


def _is_common(word: str) -> bool:
    return word.casefold() in _COMMON or (len(word) == 1 and word.isascii()) or word.isdigit()


def find_leak(written: Audited, patterns: LeakPatterns) -> Flag | None:
    """Where a rationale names a label or restates a verdict."""
    spans = patterns.spans(written.text, _own_text(written))
    if not spans:
        return None
    said = dict.fromkeys(" ".join(written.text[start:end].split()) for start, end in spans)
    return Flag("label_leak", "says " + ", ".join(f"“{one}”" for one in said), tuple(spans))


def without_verdict(written: Audited, patterns: LeakPatterns) -> str:
    """A rationale without the sentences at its end that give its label away; "" if nothing else is left."""
    bounds = list(sentences(written.text))
    while bounds and patterns.spans(written.text[slice(*bounds[-1])], _own_text(written)):
        bounds.pop()
    return written.text[: bounds[-1][1]].rstrip() if bounds else ""


def _own_text(written: Audited) -> str:
    return input_of(written.example) if written.example else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLeak:
    """How well the label can be predicted from the rationale alone.

    Good rationales argue toward their label, so they predict it without naming it: a high value is not an error.

    Args:
        num_rows: Rows measured.
        chance: Share of the most common label.
        rationale_accuracy: Cross-validated accuracy of logistic regression on 1- and 2-gram tf-idf; None: see `why`.
        input_accuracy: The same on the row's own text.
        ngrams: For each label, the n-grams of the rationales with the largest weights.
        why: Why it was not measured.
    """

    num_rows: int = 0
    chance: float | None = None
    rationale_accuracy: float | None = None
    input_accuracy: float | None = None
    ngrams: dict[str, list[str]]
    why: str = ""


def measure_leak(rows: Sequence[Audited], labels: LabelSet) -> MeasuredLeak:
    """Cross-validate a bag-of-words model that predicts the label from the rationale, and one from the input.

    Rows of one group are in one fold.
    """
    known = [(row, row.example.label) for row in rows if row.example is not None and row.example.label is not None]
    known = random.Random(0).sample(known, _MOST_ROWS) if len(known) > _MOST_ROWS else known
    if labels.multi_label:
        return MeasuredLeak(ngrams={}, why="rows may have several labels")
    gold = np.array([labels.encode(label)[0] for _, label in known], dtype=int)
    counts = Counter(gold.tolist())
    examples = [row.example for row, _ in known if row.example is not None]
    groups = np.array([example.group or f"row {i}" for i, example in enumerate(examples)])
    of_class = {index: set(groups[gold == index]) for index in counts}
    if len(counts) < 2 or min(map(len, of_class.values())) < _FOLDS:
        return MeasuredLeak(num_rows=len(gold), ngrams={}, why=f"a label has fewer than {_FOLDS} rows or groups")
    is_grouped = any(example.group is not None for example in examples)
    split = (StratifiedGroupKFold if is_grouped else StratifiedKFold)(_FOLDS, shuffle=True, random_state=0)
    folds = list(split.split(gold, gold, groups if is_grouped else None))
    rationales = [row.text for row, _ in known]
    return MeasuredLeak(
        num_rows=len(gold),
        chance=max(counts.values()) / len(gold),
        rationale_accuracy=_accuracy(rationales, gold, folds),
        input_accuracy=_accuracy([input_of(example) for example in examples], gold, folds),
        ngrams=_telling_ngrams(rationales, gold, labels),
    )


def _model(num_rows: int) -> tuple[TfidfVectorizer, LogisticRegression]:
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        tokenizer=words,  # which takes the letters of scripts without spaces one by one
        token_pattern=None,
        min_df=2 if num_rows >= _ENOUGH_ROWS else 1,  # what one row says alone cannot be learned from, and costs time
    )
    return vectorizer, LogisticRegression(C=10.0, solver="newton-cg", tol=1e-3)


def _accuracy(texts: Sequence[str], gold: np.ndarray, folds: Folds) -> float:
    return float(np.mean(told_from(texts, gold, folds).argmax(axis=1) == gold))


def told_from(texts: Sequence[str], gold: np.ndarray, folds: Folds, *, num_labels: int | None = None) -> np.ndarray:
    """The probability of each label given a text alone, by a bag-of-words model not fitted to that text.

    Args:
        texts: One per row, B.
        gold: Their labels, indices below C, (B,).
        folds: Indices of the rows to fit, with two labels or more, and of those to read, for each fold.
        num_labels: C; None: as many as occur in `gold`.

    Returns:
        (B, C); 0 for a label that the fitted rows lack, and for a row that no fold reads; the labels' shares where the
        fitted texts have no words to learn from.
    """
    probabilities_BC = np.zeros((len(gold), num_labels or int(gold.max()) + 1))
    for fitted, read in folds:
        vectorizer, classifier = _model(len(texts))
        try:
            words_BW = vectorizer.fit_transform([texts[i] for i in fitted])
        except ValueError:  # no word, or none that two rows share: the texts tell nothing
            probabilities_BC[read] = np.bincount(gold[fitted], minlength=probabilities_BC.shape[1]) / len(fitted)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(words_BW, gold[fitted])
        columns = np.ix_(read, classifier.classes_)
        probabilities_BC[columns] = classifier.predict_proba(vectorizer.transform([texts[i] for i in read]))
    return probabilities_BC


def _telling_ngrams(texts: Sequence[str], gold: np.ndarray, labels: LabelSet) -> dict[str, list[str]]:
    vectorizer, classifier = _model(len(texts))
    try:
        classifier.fit(vectorizer.fit_transform(texts), gold)
    except ValueError:  # as above
        return {}
    names = vectorizer.get_feature_names_out()
    weights = classifier.coef_ if len(classifier.classes_) > 2 else np.vstack([-classifier.coef_, classifier.coef_])
    return {
        labels.names[label]: [str(names[i]) for i in np.argsort(-row)[:_NUM_NGRAMS]]
        for label, row in zip(classifier.classes_.tolist(), weights, strict=True)
    }
