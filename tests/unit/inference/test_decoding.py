"""Options of decoding that make sense, and the figures of a timed pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import dhrd
from dhrd.data.inputs import EncodedInput
from dhrd.errors import ConfigError
from dhrd.inference import decoding as module
from dhrd.inference.decoding import Decoded, Decoding, TimedDecoding, timed_decoding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "`max_new_tokens`: give a whole number of at least 1"),
        ({"batch_size": 1.5}, "`batch_size`: give a whole number"),
        ({"seed": -1}, "`seed`: give a whole number of at least 0"),
        ({"temperature": -0.1}, "give at least 0"),
        ({"temperature": float("inf")}, "give at least 0"),
        ({"top_p": 0}, "above 0 and up to 1"),
        ({"top_p": True}, "above 0 and up to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Decoding(**options)


def test_the_public_name_has_the_same_options_and_defaults() -> None:
    given = dhrd.CoT(max_new_tokens=7, seed=3)
    assert isinstance(given, Decoding)
    assert (given.max_new_tokens, given.temperature, given.top_p, given.batch_size, given.seed) == (7, 0.0, 1.0, 16, 3)


def test_figures_of_a_timed_pass_by_hand() -> None:
    timed = TimedDecoding([Decoded("", "a", 3), Decoded("", None, 5)], seconds=4.0)
    assert (timed.queries_per_second, timed.tokens_per_second) == (0.5, 2.0)
    assert (timed.mean_new_tokens, timed.unparsable_share) == (4.0, 0.5)


def test_decoding_alone_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    wanted = Decoding(max_new_tokens=9)

    class Echo:
        def decode(self, inputs: Sequence[EncodedInput], decoding: Decoding) -> list[Decoded]:
            assert decoding is wanted
            return [Decoded(item.text, None, len(item.input_ids)) for item in inputs]

    timed = timed_decoding(Echo(), [EncodedInput("x", [1, 2])], wanted)
    assert timed == TimedDecoding([Decoded("x", None, 2)], 2.5)
