"""Rows of the returns desk by a spec such as `policy_desk:rows=400,hops=2,noise=0.25,seed=3`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dhrd.data.policy_desk import phrases
from dhrd.data.policy_desk.mail import write_mail
from dhrd.data.policy_desk.policy import LABELS, MAX_HOPS, WINDOW_DAYS, Case, apply_policy, draw_case, misread
from dhrd.data.policy_desk.rationale import write_rationale
from dhrd.data.policy_desk.wording import SPLITS, say_days
from dhrd.errors import DataError


class PolicyDesk(BaseModel):
    """Which rows to generate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Annotated[int, Field(ge=1)] = 300
    """How many. Fewer rows are the first of more."""
    hops: Annotated[int, Field(ge=1, le=MAX_HOPS)] = 3
    """How many rules interact: kind and days; condition; receipt; tier."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """This share of the training rows gets a label drawn uniformly from all four; held-out rows never do."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Another seed, other rows."""
    rationale_of: Literal["true", "given"] = "true"
    """What the rationale of a wrong label argues for: the true label, or the given one, with facts misread."""
    clothing_days: Annotated[int, Field(ge=10, le=120)] = WINDOW_DAYS["clothing"]
    """The window of clothing: another number is a policy that has changed."""

    @classmethod
    def parse(cls, text: str) -> PolicyDesk:
        """From `key=value,key=value`; "" is the default.

        Raises:
            DataError: A key is unknown, or a value is out of range.
        """
        spec = f"policy_desk:{text}"
        pairs = [part.partition("=") for part in text.split(",") if part]
        if wrong := [key for key, equals, _ in pairs if key not in cls.model_fields or not equals]:
            known = ", ".join(f"{key}=…" for key in cls.model_fields)
            raise DataError(f"{spec}: {wrong[0]!r} is unknown; it takes {known}, separated by commas")
        if twice := [key for number, (key, *_) in enumerate(pairs) if key in [other for other, *_ in pairs[:number]]]:
            raise DataError(f"{spec}: {twice[0]} is given twice; give it once")
        try:
            return cls.model_validate({key: value for key, _, value in pairs})
        except ValidationError as error:
            problem = error.errors()[0]
            raise DataError(f"{spec}: {problem['loc'][0]}={problem['input']}: {problem['msg']}") from None

    def generate(self, split: str = "train") -> Iterator[dict[str, object]]:
        """The rows of a split, each with `id`, `input_text`, `label`, `true_label`, `rationale`, `reason`.

        Raises:
            DataError: There is no such split.
        """
        if split not in SPLITS:
            raise DataError(f"policy_desk: no split {split!r}; splits are {', '.join(SPLITS)}")
        return (self._row(split, number) for number in range(self.rows))

    def misread_rationale(self, split: str, number: int, label: str, rng: random.Random) -> str:
        """A rationale that argues for a wrong label of a row: with few of its facts misread, which `rng` draws."""
        draft, writes = _mail(split, self.seed, self.hops, number, self.clothing_days)
        case = misread(draft.case, label, rng, self.hops)
        return write_rationale(case, draft.item, f"{case.days} days", writes, hops=self.hops)

    def _row(self, split: str, number: int) -> dict[str, object]:
        draft = _draft(split, self.seed, self.hops, number, self.clothing_days)
        label = given = apply_policy(draft.case)
        rationale = draft.rationale
        # Drawn apart, so that noise changes no text, and the rows that it hits at one share are hit at every larger.
        noise_rng = random.Random(f"noise {split} {self.seed} {self.hops} {number}")
        if split == "train" and noise_rng.random() < self.noise:
            given = noise_rng.choice(LABELS)
        if self.rationale_of == "given" and given != label:
            rationale = self.misread_rationale(split, number, given, noise_rng)
        return {
            "id": f"policy-{split}-{self.seed}-{number}",
            "input_text": draft.text,
            "label": given,
            "true_label": label,
            "rationale": rationale,
            "reason": draft.case.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A mail, what it is about, and the rationale of its true label."""

    case: Case
    item: str
    days: str
    text: str
    rationale: str = ""


@lru_cache(maxsize=2**15)
def _draft(split: str, seed: int, hops: int, number: int, clothing_days: int) -> _Draft:
    """Kept, as a study asks for the same mail with many numbers of rows and shares of noise: some 40 MB at most."""
    draft, rng = _mail(split, seed, hops, number, clothing_days)
    return replace(draft, rationale=write_rationale(draft.case, draft.item, draft.days, rng, hops=hops))


def _mail(split: str, seed: int, hops: int, number: int, clothing_days: int) -> tuple[_Draft, random.Random]:
    """A mail without its rationale, and the generator to write that with."""
    rng = random.Random(f"policy_desk {split} {seed} {hops} {number}")
    case = draw_case(rng, hops, clothing_days)
    item = rng.choice(phrases.ITEMS[case.kind])
    days = say_days(case.days, rng)
    return _Draft(case=case, item=item, days=days, text=write_mail(case, item, days, rng, hops=hops, split=split)), rng
