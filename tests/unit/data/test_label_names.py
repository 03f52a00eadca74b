"""From any value to a label's name, and names in order. The letters name reported cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhrd.config import load_config
from dhrd.data.label_names import as_label
from dhrd.data.rows import load_rows
from helpers.reading import labelled, labels_of, refused_by_run, run_rows, write_delimited


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(("spam", "spam "), id="L8: space at the end"),
        pytest.param(("pos", " \tpos\u00a0"), id="L8: space of any kind"),
        pytest.param(("for\u00eat", "fore\u0302t"), id="L8: composed and decomposed"),
        pytest.param(("a", "a\u200b"), id="L8: zero width"),
        pytest.param(("a", "\ufeffa"), id="L8: byte order mark"),
        pytest.param(("1", "1.0"), id="L8: whole decimals"),
        pytest.param((1, 1.0), id="L17: numbers"),
    ],
)
def test_l8_spellings_of_one_label_are_one_label(pair: tuple[Any, Any]) -> None:
    found = run_rows(labelled(*pair, "other"))
    assert len(found.labels) == 2
    assert found.train[0].label == found.train[1].label


def test_l1_a_plus_sign_is_part_of_the_text(tmp_path: Path) -> None:
    path = write_delimited(tmp_path / "rows.csv", labelled("+1", "-1"))
    assert run_rows(path).labels.names == ("+1", "-1")
    assert "1 is unknown; labels are '+1', '-1'" in refused_by_run(path, labelled(1, -1)).replace("'1'", "1")


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (np.int64(3), "3"),
        (np.float32(3), "3"),
        (np.str_("a"), "a"),
        (np.bool_(True), "true"),
        (np.array(7), "7"),
        (np.array(["a", "b"]), ("a", "b")),
        (("a", "b"), ("a", "b")),
        ({"b", "a"}, ("a", "b")),
        (False, "false"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("-0.0", "0"),
        ("1e3", "1e3"),
        ("v1.0", "v1.0"),
    ],
)
def test_l17_one_step_from_any_value_to_a_name(value: Any, label: Any) -> None:
    """L15, L17: scalars of NumPy and whole decimals are the integers that they are; text stays as it is spelled."""
    assert as_label(value) == label


@pytest.mark.parametrize("value", [1.5, float("inf"), b"a", {2.5: 1}, [["a"]], [0.5], object()])
def test_l17_what_is_no_label_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is neither an integer, a name, nor a list of names; correct the row"):
        as_label(value)


@pytest.mark.parametrize("blank", ["\0", "\u3164", "\u2800", "\uffa0", "\x1f\x7f"], ids=ascii)
def test_l8_what_is_not_seen_makes_no_other_label(blank: str) -> None:
    """L8: fillers, empty braille and padding are space as well."""
    assert labels_of(run_rows(labelled("spam", f"spam{blank}", "ham")).train) == ["spam", "spam", "ham"]
    assert "label: missing" in refused_by_run(labelled("spam", blank))


def test_l1_integers_of_any_size_are_sorted_by_number() -> None:
    rows = [{"input_text": f"t {label}", "label": label} for label in (2**64 - 1, 5, "-0", -0.0, 10**19)]
    found = load_rows(load_config(loss__reasoning_weight=0), rows)
    assert found.labels.names == ("0", "5", "10000000000000000000", "18446744073709551615")
