"""Whether a rationale gives its label away: by a word, by a verdict, and as a bag of words tells it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhrd.data.records import Example, LabelSet
from dhrd.data.superglue import TASKS
from dhrd.rationales.audit.flags import Audited
from dhrd.rationales.audit.leak import find_leak, leak_patterns, measure_leak, without_verdict
from helpers.audit import LABELS, taught, word, written

YES_NO = LabelSet(("false", "true"), ("no", "yes"))
RTE = LabelSet(("entailment", "not_entailment"), ("entailment", "not entailment"))


def said(text: str, labels: LabelSet, row: str = "", **settings: Any) -> list[str]:
    """What in a rationale gives a label away."""
    flag = find_leak(written(text, Example(input_text=row) if row else None), leak_patterns(labels, **settings))
    return [text[start:end] for start, end in flag.spans] if flag else []


@pytest.mark.parametrize(
    ("text", "names", "found"),
    [
        ("They would repair it for years.", ("repair", "return"), ["repair"]),
        ("REPAIR in capitals.", ("repair", "return"), ["REPAIR"]),
        ("Who returns it, and who was returning?", ("repair", "return"), ["returns", "returning"]),
        ("It was returned.", ("repair", "return"), ["returned"]),
        ("They refused it.", ("refuse", "accept"), ["refused"]),
        ("A change of address: a change_address form.", ("change_address", "cancel"), ["change_address"]),
        ("They ask for a change  address.", ("change_address", "cancel"), ["change  address"]),
        ("This is not-entailment.", RTE.names, ["not-entailment"]),
        ("An irreparable pair of repairers.", ("repair", "return"), []),
        ("Nothing of the kind.", ("repair", "return"), []),
        ("There was a fire in it.", ("fire", "flood"), ["fire"]),
        ("They are refusing it.", ("refuse", "accept"), ["refusing"]),
        ("It is a 👍 from me.", ("👍", "👎"), ["👍"]),
        ("They write C++ code.", ("C++", "Rust"), ["C++"]),
    ],
)
def test_label_words_in_their_spellings_and_inflections(text: str, names: tuple[str, ...], found: list[str]) -> None:
    assert said(text, LabelSet(names)) == found


@pytest.mark.parametrize(
    "text",
    [
        "No one came to the shop, and no dog barked.",
        "The passage has no mention of it.",
        "So there is no need to ask.",
        "Yes is what the sign reads",
        "Thus there were yes votes from four of them.",
        "It took 2 days and 1 night.",
        "The answer lies in the second line.",
        "So, there is nobody else who could have done it.",
        "In short supply, bread cost 1 mark.",
        "His answer was no surprise to her.",
        "The option is no longer sold.",
        "He gave the right answer to the quiz.",
        "The final class was held in May.",
        "So she said no, and left.",
    ],
)
@pytest.mark.parametrize("labels", [LabelSet(("a0", "b0"), ("no", "yes")), LabelSet(("1", "2"), ("no", "2"))])
def test_innocent_sentences(text: str, labels: LabelSet) -> None:
    assert said(text, labels) == []


VERDICTS = [
    "The answer is {}.",
    "the answer must be {}",
    "The answer would then be {}.",
    "Therefore, {}.",
    "So it is {}.",
    "so {}",
    "Hence the two together are {}.",
    "In conclusion, “{}”.",
    "The label is clearly {}.",
    "The verdict is **{}**.",
    "That settles it. {}.",
    "{}, because the door was shut.",
    "{}: the door was shut.",
    "“{}”: the door was shut.",
    "The door was shut.\n{}",
]
COLON = [
    "Answer: {}",
    "The label: {}.",
    "So it's {}.",
    "'The door was shut.' {}.",
    "{} – the door was shut.",
]


@pytest.mark.parametrize("wording", [*VERDICTS, *COLON])
@pytest.mark.parametrize("spelled", ["no", "Yes", "3"])
def test_common_words_and_numbers_in_verdicts(wording: str, spelled: str) -> None:
    labels = LabelSet(("x0", "x1", "x3"), ("no", "yes", "3"))
    assert said(wording.format(spelled), labels)


@pytest.mark.parametrize(
    "text", ["That is the correct answer.", "This was the gold label.", "The right choice is plain."]
)
def test_naming_the_verdict_is_enough(text: str) -> None:
    assert said(text, LABELS)


def test_a_word_of_the_rows_own_text_is_none_but_in_a_verdict() -> None:
    row = "Can I return this phone?"
    assert said("They ask to return a phone.", LABELS, row) == []
    assert said("They ask to return a phone.", LABELS, "Can I send it back?") == ["return"]
    assert said("They ask to return a phone. The answer is return.", LABELS, row) == ["answer is return"]
    assert said("They ask to return or repair it.", LABELS, row) == ["repair"]


def test_a_word_of_the_rows_own_text_in_another_form() -> None:
    assert said("They are returning a phone.", LABELS, "Can I return this phone?") == []


def test_further_words_and_allowed_ones() -> None:
    text = "They send it back, or return it."
    assert said(text, LABELS, forbid=(r"send\w* it back", "give")) == ["send it back", "return"]
    assert said(text, LABELS, allow=("RETURN",)) == []
    assert said("The answer is return.", LABELS, allow=("return",)) == ["answer is return"]
    assert said("A change of it: refund due.", LabelSet(("refund_due", "x_y")), forbid=("due|of",)) == [
        "of",
        "refund due",
    ]


@pytest.mark.parametrize(
    "spelled",
    ["change_address", "change address"],
)
def test_an_allowed_word_in_any_spelling(spelled: str) -> None:
    assert said("It is a change address form.", LabelSet(("change_address", "cancel")), allow=(spelled,)) == []


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("The door was shut. So the answer is no.", "The door was shut."),
        ("The door was shut.  Therefore, yes. That is false.", "The door was shut."),
        ("The door was shut. The lock held.", "The door was shut. The lock held."),
        ("The answer is no. The door was shut.", "The answer is no. The door was shut."),
        ("So yes.", ""),
        ("The answer is no. Therefore, no.", ""),
        ("Dr. Lee shut the “old door.” Hence no.", "Dr. Lee shut the “old door."),
        ("The door was shut.\nNo.", "The door was shut."),
        ("", ""),
    ],
)
def test_a_text_without_its_verdict(text: str, rest: str) -> None:
    assert without_verdict(written(text), leak_patterns(YES_NO)).rstrip("”") == rest


ANYWHERE = ["The answer is {word}.", "Therefore, {word}.", "So the correct label is {word}.", "Thus it must be {word}."]
ANYWHERE += ["In conclusion, the verdict is “{word}”.", "This makes it {name}.", "It is clearly {name} here."]
FIRST = ["{Word}, because ", "{Word}. ", "The answer is {word}. "]
OWN = {
    "boolq": ["That is correct.", "The question is answered in the negative."],
    "cb": ["The premise entails it.", "The two contradict each other.", "The author stays neutral."],
    "copa": [
        "Choice 2 fits.",
        "So the first option is likelier.",
        "Alternative one is the likelier.",
        "Option B it is.",
    ],
    "multirc": ["So that is right.", "The reply is incorrect.", "It answers correctly."],
    "rte": ["So the text entails it.", "It is not entailed.", "The two contradict each other."],
    "wic": ["They have the same meaning.", "These are different senses.", "The uses have distinct meanings."],
    "wsc": ["Here it refers to him.", "The pronoun is referring to Ann.", "Its antecedent is plain."],
}


@pytest.mark.parametrize("task", TASKS)
class TestRealData:
    """The teacher's rationales of the seven tasks, where they are."""

    def test_what_is_planted_is_found(self, task: str, shared_data: Path) -> None:
        data = taught(shared_data, task)
        patterns = leak_patterns(data.labels, forbid=data.task.leaks)
        planted = [text for row in data.rows for text in plant(row, data.labels, OWN[task])]
        assert len(planted) == len(data.rows) * (len(ANYWHERE) + len(FIRST) + len(OWN[task]))
        found = sum(find_leak(row, patterns) is not None for row in planted)
        assert found / len(planted) >= 0.95

    def test_hardly_a_row_is_flagged_as_it_is(self, task: str, shared_data: Path) -> None:
        data = taught(shared_data, task)
        patterns = leak_patterns(data.labels, forbid=data.task.leaks)
        flagged = [row.id for row in data.rows if find_leak(row, patterns)]
        assert len(flagged) <= 0.005 * len(data.rows), flagged


def plant(row: Audited, labels: LabelSet, own: Sequence[str]) -> list[Audited]:
    assert row.example is not None and row.example.label is not None
    (label,) = labels.encode(row.example.label)
    parts = {"word": labels.words[label], "name": labels.names[label]}
    parts["Word"] = parts["word"].capitalize()
    added = [f"{row.text} {wording.format(**parts)}" for wording in (*ANYWHERE, *own)]
    added += [wording.format(**parts) + row.text for wording in FIRST]
    return [written(text, row.example, row.id) for text in added]


def corpus(
    count: int,
    telling: Sequence[str] = (),
    *,
    seed: int = 0,
    rows_a_group: int = 0,
    labels: Sequence[str] = LABELS.names,
) -> list[Audited]:
    """Rows of random words with labels in turn; `telling`: a word a label that its rationales have."""
    rng = random.Random(seed)
    vocabulary = [word(rng) for _ in range(60)]
    rows = []
    for number in range(count):
        group = number // rows_a_group if rows_a_group else None
        label = (number if group is None else group) % len(labels)
        text = " ".join(rng.choices(vocabulary, k=12)) + (f" {telling[label]}" if telling else "")
        text += f" group{group}" if group is not None else ""
        rows.append(
            written(
                text,
                Example(
                    input_text=" ".join(rng.choices(vocabulary, k=12)),
                    label=labels[label],
                    id=f"r{number}",
                    group=f"g{group}" if group is not None else None,
                ),
            )
        )
    return rows


class TestMeasured:
    """A bag of words that tells the label."""

    def test_a_word_that_names_the_label_is_found(self) -> None:
        found = measure_leak(corpus(200, ("mauve", "teal")), LABELS)
        assert found.num_rows == 200
        assert found.chance == 0.5
        assert found.rationale_accuracy is not None and found.rationale_accuracy >= 0.95
        assert found.input_accuracy is not None and found.input_accuracy <= 0.7
        assert "mauve" in found.ngrams["repair"] and "teal" not in found.ngrams["repair"]
        assert "teal" in found.ngrams["return"] and "mauve" not in found.ngrams["return"]

    def test_of_three_labels(self) -> None:
        labels = LabelSet(("a", "b", "c"))
        found = measure_leak(corpus(300, ("mauve", "teal", "ochre"), labels=labels.names), labels)
        assert found.rationale_accuracy is not None and found.rationale_accuracy >= 0.95
        assert all(name in found.ngrams[label] for label, name in zip("abc", ("mauve", "teal", "ochre"), strict=True))

    def test_random_text_tells_nothing(self) -> None:
        found = measure_leak(corpus(300), LABELS)
        assert found.rationale_accuracy is not None and 0.35 <= found.rationale_accuracy <= 0.65

    def test_an_input_that_tells_the_label(self) -> None:
        rows = corpus(200, ("mauve", "teal"))
        swapped = [
            written(row.example.input_text, Example(input_text=row.text, label=row.example.label, id=row.example.id))
            for row in rows
            if row.example is not None
        ]
        found = measure_leak(swapped, LABELS)
        assert found.input_accuracy is not None and found.input_accuracy >= 0.95
        assert found.rationale_accuracy is not None and found.rationale_accuracy <= 0.7

    def test_a_group_is_not_learned_from_its_own_rows(self) -> None:
        """Each group has a word of its own, which tells its label: to those who have seen the group."""
        grouped = corpus(300, rows_a_group=20)
        apart = [
            written(row.text, Example(input_text=row.example.input_text, label=row.example.label))
            for row in grouped
            if row.example is not None
        ]
        seen, unseen = measure_leak(apart, LABELS).rationale_accuracy, measure_leak(grouped, LABELS).rationale_accuracy
        assert seen is not None and seen >= 0.95
        assert unseen is not None and unseen <= 0.7

    @pytest.mark.parametrize(
        ("rows", "labels", "why"),
        [
            (corpus(8), LABELS, "fewer than 5"),
            (corpus(9), LABELS, "fewer than 5"),
            ([], LABELS, "fewer than 5"),
            (corpus(30, labels=("repair",)), LABELS, "fewer than 5"),
            (corpus(80, rows_a_group=10), LABELS, "fewer than 5"),
            ([written("x y", Example(label=("a",)))] * 20, LabelSet(("a", "b"), multi_label=True), "several labels"),
        ],
    )
    def test_what_cannot_be_measured_says_why(self, rows: list[Audited], labels: LabelSet, why: str) -> None:
        found = measure_leak(rows, labels)
        assert (found.rationale_accuracy, found.input_accuracy, found.chance, found.ngrams) == (None, None, None, {})
        assert why in found.why

    def test_five_rows_a_label_are_enough(self) -> None:
        assert measure_leak(corpus(10, ("mauve", "teal")), LABELS).rationale_accuracy is not None


@pytest.mark.parametrize(
    "text", ["", "你好", "{number}", "{number} {other}"], ids=["empty", "one word", "numbers", "no word twice"]
)
def test_texts_without_words_to_learn_from_tell_nothing(text: str) -> None:
    """Where the model of words has no word, the label is as good as guessed."""
    rows = [
        replace(row, example=replace(row.example, input_text=text.format(number=10**9 + i, other=10**12 + i)))
        for i, row in enumerate(corpus(260))
        if row.example is not None
    ]
    leak = measure_leak(rows, LABELS)
    assert leak.input_accuracy == pytest.approx(leak.chance, abs=0.05)
    silent = measure_leak([replace(row, text="…") for row in rows], LABELS)
    assert silent.rationale_accuracy == pytest.approx(silent.chance, abs=0.05)
    assert silent.ngrams == {}
