"""Whether rationales are about their rows: shuffled real ones, and small ones where the answer is known."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from dhrd.data.records import Example
from dhrd.data.superglue import TASKS
from dhrd.rationales.audit.alignment import measure_alignment
from dhrd.rationales.audit.flags import Audited
from helpers.audit import Taught, cases, taught, written

MOST_ROWS = 600  # of RTE; the others have fewer


def shuffle(rows: list[Audited], share: float, seed: int) -> tuple[list[Audited], set[int]]:
    """Rows of which a share has the rationale of a row of another group, and which these are."""
    rng = random.Random(seed)
    moved = set(rng.sample(range(len(rows)), round(share * len(rows))))
    result = list(rows)
    for index in moved:
        donors = [row for row in rows if group_of(row) != group_of(rows[index])]
        result[index] = replace(rows[index], text=rng.choice(donors).text)
    return result, moved


def group_of(row: Audited) -> str:
    assert row.example is not None
    return row.example.group or row.id


@pytest.mark.parametrize("task", TASKS)
class TestRealData:
    """The teacher's rationales of the seven tasks, where they are."""

    @pytest.fixture
    def data(self, task: str, shared_data: Path) -> Taught:
        whole = taught(shared_data, task)
        return replace(whole, rows=whole.rows[:MOST_ROWS])

    def test_they_are_about_their_rows(self, data: Taught) -> None:
        found = measure_alignment(data.rows, data.examples)
        assert found.mean_rank is not None and found.mean_rank > 0.99
        assert len(found.flags) <= 0.01 * len(data.rows)
        assert "shuffled" not in found.sentence() and "weak" not in found.sentence()

    @pytest.mark.parametrize("seed", [0, 1])
    def test_a_tenth_shuffled_is_found(self, data: Taught, seed: int) -> None:
        rows, moved = shuffle(data.rows, 0.1, seed)
        flagged = set(measure_alignment(rows, data.examples).flags)
        assert len(flagged & moved) / len(moved) >= 0.9
        assert len(flagged & moved) / len(flagged) >= 0.9

    def test_all_shuffled_are_said_to_be(self, data: Taught) -> None:
        rows, _ = shuffle(data.rows, 1.0, 0)
        found = measure_alignment(rows, data.examples)
        assert found.mean_rank is not None and 0.35 <= found.mean_rank <= 0.65
        assert "shuffled" in found.sentence()
        assert len(found.flags) >= 0.95 * len(rows)


def invented(count: int, seed: int = 0) -> tuple[list[Audited], list[Example]]:
    """Sound rationales of rows that have nothing in common."""
    data, rationales = cases(count, seed=seed)
    examples = [Example(input_text=row["input_text"], label=row["label"], id=row["id"]) for row in data]
    return [written(text, row, row.id) for text, row in zip(rationales, examples, strict=True)], examples


def swap(rows: list[Audited], one: int, other: int) -> list[Audited]:
    """The rationales of two rows, exchanged."""
    result = list(rows)
    result[one] = replace(rows[one], text=rows[other].text)
    result[other] = replace(rows[other], text=rows[one].text)
    return result


def with_examples(rows: list[Audited], examples: list[Example]) -> list[Audited]:
    return [replace(row, example=example) for row, example in zip(rows, examples, strict=True)]


def test_two_swapped_rationales_are_flagged_and_no_others() -> None:
    rows, examples = invented(30)
    assert measure_alignment(rows, examples).flags == {}
    flags = measure_alignment(swap(rows, 3, 17), examples).flags
    assert {index: flag.kind for index, flag in flags.items()} == {3: "misaligned", 17: "misaligned"}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_rows_are_not_measured(count: int) -> None:
    rows, examples = invented(count)
    found = measure_alignment(rows, examples)
    assert found.ranks == [None] * count
    assert (found.mean_rank, found.flags) == (None, {})
    assert found.summary() == {"mean_rank": None, "num_compared": 0, "num_misaligned": 0}
    assert found.sentence().startswith("not measured")


def test_five_others_are_enough() -> None:
    rows, examples = invented(6)
    assert measure_alignment(rows, examples).ranks == pytest.approx([1.0] * 6)


def test_other_rows_of_the_data_are_compared_with_where_rationales_are_few() -> None:
    rows, examples = invented(30)
    assert measure_alignment(rows[:2], examples[:2]).mean_rank is None
    assert measure_alignment(rows[:2], examples).ranks == pytest.approx([1.0, 1.0])
    assert set(measure_alignment(swap(rows, 0, 1)[:2], examples).flags) == {0, 1}


def test_a_rationale_of_no_row_is_not_compared() -> None:
    rows, examples = invented(30)
    rows[4] = replace(rows[4], example=None)
    rows = swap(rows, 9, 20)
    found = measure_alignment(rows, examples)
    assert [index for index, rank in enumerate(found.ranks) if rank is None] == [4]
    assert set(found.flags) == {9, 20}
    assert found.summary()["num_compared"] == 29


def test_rows_of_one_group_are_not_compared() -> None:
    rows, examples = invented(30)
    twins = [replace(e, group="twins") if i in (3, 17) else replace(e, group=f"g{i}") for i, e in enumerate(examples)]
    closer = list(rows)  # the own input is second to the twin's alone
    closer[3] = replace(rows[3], text=f"{rows[17].text} {rows[3].text}")
    assert measure_alignment(with_examples(closer, twins), twins).ranks[3] == pytest.approx(1.0)
    one = [replace(example, group="all") for example in examples]
    assert measure_alignment(with_examples(rows, one), one).mean_rank is None


def test_near_duplicate_inputs_are_not_compared() -> None:
    rows, examples = invented(30)
    examples[17] = replace(examples[17], input_text=examples[3].input_text + " twice")
    rows = with_examples(rows, examples)
    rows[17] = replace(rows[17], text=rows[3].text.replace("Only", "Just"))
    found = measure_alignment(swap(rows, 3, 17), examples)
    assert found.flags == {}
    assert (found.ranks[3], found.ranks[17]) == pytest.approx((1.0, 1.0))
    alike = [replace(example, input_text="the same text for all of them") for example in examples]
    assert measure_alignment(with_examples(rows, alike), alike).mean_rank is None


def test_a_score_depends_on_other_rationales_only_by_how_common_words_are() -> None:
    rows, examples = invented(60)
    shuffled, _ = shuffle(rows[1:], 1.0, 0)
    before, after = measure_alignment(rows, examples), measure_alignment([rows[0], *shuffled], examples)
    assert before.ranks[0] == pytest.approx(after.ranks[0], abs=0.05)
    assert 0 not in before.flags and 0 not in after.flags
    assert len(after.flags) >= 55
    stray = replace(rows[0], text=rows[30].text)
    for others in (rows[1:], shuffled):
        assert 0 in measure_alignment([stray, *others], examples).flags


def test_texts_without_a_letter() -> None:
    rows = [written(" ", Example(input_text=" ", id=f"r{i}"), f"r{i}") for i in range(10)]
    found = measure_alignment(rows, [row.example for row in rows if row.example])
    assert found.mean_rank is None and found.flags == {}


def test_rationales_that_tell_their_row_by_little_are_said_to() -> None:
    """Of inputs that differ by a number alone, the own one ranks first, and not by much."""
    examples = [Example(input_text=f"case number {number}", id=f"r{number}") for number in range(40)]
    rows = [written(f"Case number {row.id[1:]}, they will do it.", row, row.id) for row in examples]
    found = measure_alignment(rows, examples)
    assert found.mean_rank is not None and found.mean_rank >= 0.7
    assert len(found.flags) > 4
    assert "weak" in found.sentence() and "shuffled" not in found.sentence()
