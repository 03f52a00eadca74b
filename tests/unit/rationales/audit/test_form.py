"""Lengths, repetition, endings, damage and language of rationales."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from dhrd.data.superglue import TASKS
from dhrd.rationales.audit.flags import Audited, Flag
from dhrd.rationales.audit.form import (
    beginnings,
    check_damage,
    check_duplicates,
    check_endings,
    check_language,
    check_lengths,
)
from helpers.audit import cases, taught, texts, written

CHECKS = (check_lengths, check_duplicates, check_endings, check_damage, check_language)
NAMES = [f"name{number}" for number in range(200)]


@pytest.mark.parametrize("check", CHECKS)
def test_no_rows_have_no_flags(check: Callable[[Sequence[Audited]], Mapping[int, Flag]]) -> None:
    assert check([]) == {}


@pytest.mark.parametrize(
    ("num_words", "usual", "flagged"),
    [
        (2, 10, True),
        (1, 10, True),
        (3, 10, False),
        (100, 10, False),
        (101, 10, True),
        (120, 30, False),
        (121, 30, True),
    ],
)
def test_lengths(num_words: int, usual: int, flagged: bool) -> None:
    rows = texts(*[" ".join(NAMES[:usual])] * 9, " ".join(NAMES[:num_words]))
    found = check_lengths(rows)
    assert set(found) == ({9} if flagged else set())
    assert all(str(num_words) in flag.detail for flag in found.values())


def test_marks_are_no_words() -> None:
    assert set(check_lengths(texts("– … ! 1, 2.", "It doesn't matter.", "¿Qué pasó ayer?"))) == {0}


CLAUSES = [
    "他昨天去了北京",
    "天气很好",
    "店主说手机坏了",
    "没有别的解释",
    "文中提到两个人",
    "她因此很高兴",
    "钥匙不见了",
]


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (check_lengths, "他们昨天去了北京，天气很好。"),
        (check_language, "，".join(f"{clause}{{0}}" for clause in CLAUSES)),
    ],
)
def test_a_file_without_spaces_between_words(
    check: Callable[[Sequence[Audited]], Mapping[int, Flag]], text: str
) -> None:
    assert check(texts(*(text.format(number) for number in range(60)))) == {}


@pytest.mark.parametrize(
    ("first", "second", "flagged"),
    [
        (NAMES[:30], NAMES[:30], True),
        (NAMES[:10], NAMES[:12], True),  # 8 of 10 runs of three words in common
        (NAMES[:10], NAMES[:13], False),  # 8 of 11
        (NAMES[:12], NAMES[:10], True),
        (NAMES[:28], NAMES[:15] + ["other"] + NAMES[16:28], False),  # 23 of 29
        (NAMES[:40], NAMES[:20] + ["other"] + NAMES[21:40], True),  # 35 of 41: one word changed
        (NAMES[:30], NAMES[30:60], False),
        (NAMES[:2], NAMES[:2], True),
        (NAMES[:2], NAMES[1:3], False),
    ],
)
def test_near_duplicates(first: list[str], second: list[str], flagged: bool) -> None:
    found = check_duplicates(texts(" ".join(NAMES[100:130]), " ".join(first), " ".join(second)))
    assert set(found) == ({2} if flagged else set())
    assert all("r1" in flag.detail for flag in found.values())


def test_case_and_marks_make_no_difference_and_the_first_is_kept() -> None:
    rows = texts("He went home, then slept.", "HE WENT HOME – THEN SLEPT!", "he went “home” then slept")
    assert set(check_duplicates(rows)) == {1, 2}


def same(count: int) -> list[Audited]:
    return texts(*["It is the very same text, word by word, over and over again."] * count)


def same_opening(count: int) -> list[Audited]:
    return texts(*(f"The text says of the one who brought it that {text}" for text in cases(count)[1]))


def seconds(rows: list[Audited]) -> float:
    start = time.process_time()
    check_duplicates(rows)
    return time.process_time() - start


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (same, 1000),
        (same_opening, 150),
    ],
)
def test_time_is_linear_in_the_rows(make: Callable[[int], list[Audited]], count: int) -> None:
    few, many = make(count), make(4 * count)
    assert min(seconds(many) for _ in range(2)) < 8 * min(seconds(few) for _ in range(2))


def test_two_thousand_copies_are_all_found() -> None:
    assert set(check_duplicates(same(2000))) == set(range(1, 2000))


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("He left.", True),
        ("He left!", True),
        ("Did he?", True),
        ("He left…", True),
        ("He said “I left.”", True),
        ("(He left.)", True),
        ("He left.**\n", True),
        ("他走了。", True),
        ("هل ذهب؟", True),
        ("He left", False),
        ("He left,", False),
        ("He left because the", False),
        ("He left:", False),
        ("He left. And then", False),
        ("He left. 🙂", True),
        ("He left.[1]", True),
    ],
)
def test_endings(text: str, ends: bool) -> None:
    found = check_endings(texts("One came.", "Two came.", text))
    assert set(found) == (set() if ends else {2})


def test_a_file_whose_style_has_no_full_stops() -> None:
    unended = [f"He left for the town {number}" for number in range(6)]
    ended = [f"He left for the city {number}." for number in range(5)]
    assert check_endings(texts(*unended, *ended)) == {}
    assert set(check_endings(texts(*unended[:5], *ended))) == set(range(5))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("The cafÃ© was shut.", "Ã©"),
        ("It isnâ€™t his.", "â€™"),
        ("He said â€œgoâ€\x9d.", "â€œ"),
        ("It cost â‚¬5.", "â‚¬"),
        ("The caf\ufffd was shut.", "\ufffd"),
        ("A bell \x07 rang.", "\x07"),
        ("A null \x00 here.", "\x00"),
        ("Salt &amp; pepper.", "&amp;"),
        ("It isn&#39;t his.", "&#39;"),
        ("It isn&#x27;t his.", "&#x27;"),
        ("He left. [END OF REASONING]", "[END OF REASONING]"),
        ("<think>He left.", "<think>"),
        ("He left.</explanation>", "</explanation>"),
        ("He left.<br />Then she did.", "<br />"),
    ],
)
def test_damage_is_found_where_it_is(text: str, held: str) -> None:
    (flag,) = check_damage(texts("He left.", text)).values()
    assert held in {text[start:end] for start, end in flag.spans} or any(
        text[start:end].startswith(held) for start, end in flag.spans
    )
    assert flag.kind == "damaged"


@pytest.mark.parametrize(
    "text",
    [
        "The café was naïve, says Åse Ørsted.",
        "“Quotes” and ‘quotes’ – and — dashes… it’s fine.",
        "A smile 🙂 and a flag 🇩🇪 and a family 👨‍👩‍👧.",
        "中文和日本語のテキスト。",
        "Текст по-русски, ελληνικά, עברית.",
        "Two lines\nand a\ttab.",
        "Salt & pepper; AT&T; 5 < 6 > 4.",
        "[Ann] left <him>.",
        "É, è, ça, über, señor.",
        "It costs €5–€6, or £7½.",
        "Er sagt „groß“ dazu.",
        "The sign reads “CAFÉ”.",
        "We know that if <p and q> then r.",
    ],
)
def test_what_is_no_damage(text: str) -> None:
    assert check_damage(texts(text)) == {}


FOREIGN = {
    "German": "Der Text sagt nur, dass der Besitzer seinen Schlüssel verloren hat, und deshalb kann er nicht hinein.",
    "German too": "Weil die Katze auf dem Dach saß, musste die Feuerwehr kommen und sie mit einer Leiter retten.",
    "French": "Le texte dit seulement que le propriétaire a perdu sa clé, et c'est pourquoi il ne peut pas entrer.",
    "French too": "Comme le chat était sur le toit, les pompiers ont dû venir pour le sauver avec une échelle.",
    "Spanish": "El texto solo dice que el dueño perdió su llave, y por eso no puede entrar en la casa.",
    "Spanish too": "Como el gato estaba en el tejado, los bomberos tuvieron que venir para salvarlo con una escalera.",
    "Russian": "В тексте сказано только, что хозяин потерял ключ и поэтому не может войти.",
    "Chinese": "文中只说主人丢了钥匙，所以他进不去。",
}


@pytest.mark.parametrize("task", ["cb", "rte", "wsc"])
def test_another_language_among_english_rows(task: str, shared_data: Path) -> None:
    rows = [*taught(shared_data, task).rows, *texts(*FOREIGN.values())]
    found = check_language(rows)
    assert [name for index, name in enumerate(FOREIGN, len(rows) - len(FOREIGN)) if index not in found] == []
    assert len(found) == len(FOREIGN)


@pytest.mark.parametrize("odd", ["Он потерял ключ.", "他丢了钥匙。", "Έχασε το κλειδί."])
def test_another_script_needs_no_many_rows(odd: str) -> None:
    (index,) = check_language(texts("He lost it.", "She lost it.", odd))
    assert index == 2
    (index,) = check_language(texts("He lost a key.", odd, odd))
    assert index == 0


@pytest.mark.parametrize(
    "text",
    ["The word “ключ” stands for a key.", "It is 5, 6, 7!", "The sign 钥匙 means a key here.", "¡Olé! said Ægir."],
)
def test_a_word_of_another_script_is_none(text: str) -> None:
    assert check_language(texts("He lost it.", "She lost it.", text)) == {}


def test_a_file_in_japanese() -> None:
    rows = ["これはねこであるとかかれている。", "それはとてもおおきいからだ。", "東京都知事選挙結果発表があった。"]
    assert check_language(texts(*rows)) == {}


def test_few_rows_do_not_tell_what_is_common() -> None:
    rows = [written(text) for text in cases(40)[1]]
    assert check_language([*rows, *texts(FOREIGN["German"])]) == {}


def test_beginnings() -> None:
    rows = texts(
        "The text says it.", "the text, says he", "“The text says” so.", "It says so.", "It says so too.", "No."
    )
    assert beginnings(rows) == [("the text says", 0.5), ("it says so", pytest.approx(1 / 3))]
    assert beginnings(rows, most=1) == [("the text says", 0.5)]
    assert beginnings(texts("One row.", "Another one.")) == []


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_wrong_with_the_teachers_rationales(task: str, shared_data: Path) -> None:
    rows = taught(shared_data, task).rows
    assert {check.__name__: check(rows) for check in CHECKS} == {check.__name__: {} for check in CHECKS}
