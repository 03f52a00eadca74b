"""What the reasoning head and teachers write is read back as what was meant, or not at all."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dhrd.data.label_names import clean_name
from dhrd.data.label_sets import check_label_set
from dhrd.data.reading import HeadReader
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from dhrd.errors import DataError
from dhrd.inference.cot import parse_answer, read_decoded
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection, judge
from dhrd.rationales.teacher.prompt import SENTINEL, Question

# What readers take off, headings, separators, and the words for nothing: everything that could be mistaken.
PIECES = st.sampled_from(
    ["a", "A", "b", "C", "#", "++", "*", "**", "_", "`", ".", "...", ",", ", ", ";", "|", "'", '"', ">", "<", "(", ")",
     "[x]", "\\boxed{", "}", "answer", "Answer: ", "the label is", "none", "no label", "nothing of these", "-", " ",
     "\u200b", "ß", "ê", "e\u0302", "1", "0", "1.0", "<|im_end|>", "</s>", ":", "Reasoning:", "\n", "\u2028", "é\u0301"]
)  # fmt: skip
NAMES = st.one_of(st.lists(PIECES, min_size=1, max_size=4).map("".join), st.text(max_size=6))


def accepted(names: list[str], *, multi_label: bool) -> LabelSet | None:
    """The label set, where training takes it."""
    labels = LabelSet(tuple(map(clean_name, names)), multi_label=multi_label)
    try:
        check_label_set(labels)
    except DataError:
        return None
    return labels


def says(text: str, labels: LabelSet) -> list[str] | None:
    """What each reader makes of an answer: a teacher's judge, chain of thought."""
    by_head = read_decoded(f" Because.\nAnswer: {text}", 1, HeadReader.of(labels, SequenceTemplate())).label
    read = labels.read(f"\n{text}\n")
    names = None if read is None else [labels.names[index] for index in read]
    assert by_head == (names if labels.multi_label or names is None else names[0])
    return names


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(NAMES, min_size=2, max_size=5))
def test_l7_what_is_written_for_one_label_reads_back_as_it(names: list[str]) -> None:
    labels = accepted(names, multi_label=False)
    assume(labels is not None)
    assert labels is not None
    for index, name in enumerate(labels.names):
        assert says(labels.write((index,)), labels) == [name]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(NAMES, min_size=2, max_size=4))
def test_l7_so_does_any_set_of_labels(names: list[str]) -> None:
    labels = accepted(names, multi_label=True)
    assume(labels is not None)
    assert labels is not None
    for size in range(len(labels) + 1):
        for chosen in combinations(range(len(labels)), size):
            assert says(labels.write(chosen), labels) == [labels.names[index] for index in chosen]


HARD = {
    "answerable": ("answerable", "unanswerable"),
    "sharp": ("C", "C#", "C++"),
    "stars": ("A", "A*", "A**", "*A*"),
    "income": (">50K", "<=50K", "50K"),
    "help": ("#help", "help", "# help me"),
    "quotes": ("yes", "'yes'", '"yes"', "no"),
    "abbreviations": ("U.S.", "U.K.", "approx.", "approx"),
    "dots": ("...", ".", "yes.", "yes"),
    "headings": ("answer", "the answer is", "label: a", "a", "Answer: a"),
    "boxed": (r"\boxed{a}", "a", r"\text{a}"),
    "brackets": ("keep (old)", "keep", "(keep)", "[keep]"),
    "turns": ("<|im_end|>", "a<|im_end|>", "a"),
    "numbers": ("1", "-1", "- 2", "10"),
    "rules": ("---", "a", "**"),
}


@pytest.mark.parametrize("names", HARD.values(), ids=[f"T4: {name}" for name in HARD])
@pytest.mark.parametrize("multi_label", [False, True])
def test_t4_each_label_is_read_as_itself(names: tuple[str, ...], multi_label: bool) -> None:
    labels = LabelSet(names, multi_label=multi_label)
    check_label_set(labels)
    for index, name in enumerate(names):
        assert says(labels.write((index,)), labels) == [name]
    if multi_label:
        assert says(labels.write(range(len(names))), labels) == list(names)
        assert says(labels.write(()), labels) == []


@pytest.mark.parametrize("names", HARD.values(), ids=[f"T4: {name}" for name in HARD])
@pytest.mark.parametrize("gold", [0, 1])
def test_t4_a_teacher_that_is_right_is_not_called_wrong_nor_the_reverse(names: tuple[str, ...], gold: int) -> None:
    labels, question = LabelSet(names), Question(id="r", prompt="?", key="k", label=(gold,))
    for index, name in enumerate(names):
        answer = Answer(text=f"It is so.\n{SENTINEL}\n{name}")
        agrees = judge(answer, question, labels, label_hidden=False)
        assert agrees == Rationale("It is so.", agrees=index == gold)
        kept = judge(answer, question, labels, label_hidden=True)
        assert kept == agrees if index == gold else isinstance(kept, Rejection) and kept.reason == "wrong_answer"


@pytest.mark.parametrize(
    "text",
    ["keep", " Keep.", "keep (because it fits)", r"\boxed{keep}", r"$\boxed{\text{keep}}$", "keep<|im_end|>",
     "keep</s>", "keep<|eot_id|><|end_of_text|>", "**Answer:** keep", "**Answer: keep**", "Answer: **keep**",
     "**Final answer:** **keep**", "The answer is “keep”.", "So the correct answer is keep.", "Final answer:\nkeep",
     "```\nkeep\n```", "`keep`", "> keep", "- keep", "### keep", "'keep'", "(keep)", "[keep]", "<answer>keep</answer>",
     "**keep**.", "__keep__", "Label: keep", "\n\n  keep  \nand more", "**keep", "keep, "],
)  # fmt: skip
def test_t4_what_models_put_around_a_label_is_taken_off(text: str) -> None:
    assert says(text, LabelSet(("keep", "return"))) == ["keep"]


@pytest.mark.parametrize(
    "text",
    ["", "Answer:", "keeper", "keep or return", "keep, because it fits", "answerkeep", "A keep*", "keep#", "#keep",
     "*keep", "not keep", "answers: keep", "( keep", "none", "(", "." * 500, "(" * 5000],
)  # fmt: skip
def test_t4_what_is_more_than_a_label_is_not_read(text: str) -> None:
    assert says(text, LabelSet(("keep", "return"))) is None


@pytest.mark.parametrize(
    "text", ["b, a", "**a**, **b**", "['a', 'b']", "a, b (both)", "Answer: a, b.", "[a, b]", "`a`, `b`<|im_end|>"]
)
def test_t4_several_labels_may_be_dressed_too(text: str) -> None:
    labels = LabelSet(("a", "b", "c"), multi_label=True)
    assert says(text, labels) == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "written"),
    [
        pytest.param(("a, b", "a", "b"), "a, b; a; b", id="L7: a comma in a name"),
        pytest.param(("a, b", "x;y"), "a, b| x;y", id="L7: a comma and a semicolon"),
        pytest.param(("none", "a"), "none, a", id="L7: a label called none"),
    ],
)
def test_l7_several_labels_are_written_without_doubt(names: tuple[str, ...], written: str) -> None:
    labels = LabelSet(names, multi_label=True)
    assert labels.write(range(len(names))) == written
    assert says(written, labels) == list(names)
    assert says(labels.write(()), labels) == []


def test_l7_where_no_mark_is_left_the_set_is_refused() -> None:
    with pytest.raises(DataError, match="use commas, semicolons and bars"):
        check_label_set(LabelSet(("a, b", "c;d", "e|f"), multi_label=True))
    check_label_set(LabelSet(("a, b", "c;d", "e|f")))


def test_l7_a_set_of_an_older_artifact_is_never_guessed() -> None:
    """`US` and `us` are refused in training; where a saved classifier has them, only an exact answer is read."""
    labels = LabelSet(("US", "us"))
    reader = HeadReader.of(labels, SequenceTemplate())
    assert [parse_answer(text, reader) for text in ("US", " us.", "Us")] == ["US", "us", None]


def test_l7_words_come_before_names() -> None:
    labels = LabelSet(("no", "yes"), ("yes", "no"))
    assert [labels.read(text) for text in ("yes", "No.", "**YES**")] == [(0,), (1,), (0,)]
