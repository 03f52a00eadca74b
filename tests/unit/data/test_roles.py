"""Which columns are the text, the label, the rationale and the id."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from dhrd.data.columns import look_at_columns
from dhrd.data.roles import find_roles, template_of
from dhrd.data.row import Row
from dhrd.data.templates import PLAIN, InputTemplate
from dhrd.errors import ConfigError, DataError

LONG = "the order has not come and nobody answers"


def columns_of(*rows: dict[str, Any]) -> Any:
    return look_at_columns(Row(f"x:{number}", row) for number, row in enumerate(rows))


def tickets(**more: Any) -> list[dict[str, Any]]:
    """Rows with a unique number, a title, a text, and two columns of classes."""
    return [
        {"ticket": str(i), "title": f"it {i}", "body": f"{LONG} {i}", "priority": "ab"[i % 2], "queue": "xyz"[i % 3]}
        | {name: f"{value} {i}" for name, value in more.items()}
        for i in range(12)
    ]


def taken(*rows: dict[str, Any], **given: str) -> dict[str, tuple[str, ...]]:
    return {name: role.columns for name, role in find_roles(columns_of(*rows), given).items()}


def test_our_own_names_are_taken_as_they_are() -> None:
    rows = [
        {"id": f"r{i}", "input_text": f"{LONG} {i}", "label": "ab"[i % 2], "rationale": f"{LONG} {i}", "note": LONG}
        for i in range(6)
    ]
    roles = find_roles(columns_of(*rows), {})
    assert {name: role.columns for name, role in roles.items()} == {
        name: (name,) for name in ("id", "rationale", "label", "input_text")
    }
    assert roles["input_text"].others == ("note",)


def test_names_that_others_use() -> None:
    rows = [
        {"uuid": f"u{i}", "Text": f"{LONG} {i}", "explanation": f"{LONG} {i}", "intent_class": "ab"[i % 2]}
        for i in range(6)
    ]
    expected = {"id": ("uuid",), "rationale": ("explanation",), "label": ("intent_class",), "input_text": ("Text",)}
    assert taken(*rows) == expected


@pytest.mark.parametrize(
    "text",
    ["这家店的服务非常好我很满意", "この店のサービスはとても良い", "บริการของร้านนี้ดีมากจริงๆ"],
    ids=["zh", "ja", "th"],
)
def test_text_without_spaces_is_text(text: str) -> None:
    """Its sentences are no ids, and its rationales are found."""
    rows = [{"a": f"{text}{i}", "b": ["北京", "上海", "广州"][i % 3], "label": "ab"[i % 2]} for i in range(12)]
    assert taken(*rows) == {"label": ("label",), "input_text": ("a",)}
    rows = [row | {"id": f"r{i}", "hypothesis": f"{text}{i}", "rationale": text} for i, row in enumerate(rows)]
    assert taken(*rows) == {
        "id": ("id",),
        "label": ("label",),
        "rationale": ("rationale",),
        "input_text": ("a", "hypothesis"),
    }


def test_a_first_column_that_is_named_as_the_text_is_no_id() -> None:
    """However short: names to classify, say."""
    rows = [{"text": f"name{i}", "label": "ab"[i % 2]} for i in range(12)]
    assert taken(*rows) == {"input_text": ("text",), "label": ("label",)}


@pytest.mark.parametrize("ids", [["a", "a", "b"], ["a", "b", None]])
def test_a_column_id_is_read_whatever_it_holds(ids: list[Any]) -> None:
    rows = [{"text": f"{LONG} {i}", "id": own, "label": "ab"[i % 2]} for i, own in enumerate(ids)]
    role = find_roles(columns_of(*rows), {})["id"]
    assert (role.columns, role.why) == (("id",), "by its name, though not a different one in each row")
    assert taken(*({"nr": i, **row} for i, row in enumerate(rows)))["id"] == ("nr",)


_NO_IDS: Any = {
    "float": lambda i: 1.5 + i,
    "spelled": lambda i: f"{1.5 + i}",
    "object": lambda i: {"id": i},
    "list": lambda i: [i],
    "time": lambda i: datetime(2024, 1, 1 + i),
}


@pytest.mark.parametrize("kind", _NO_IDS)
def test_a_first_column_that_holds_no_ids_is_none(kind: str) -> None:
    rows = [{"first": _NO_IDS[kind](i), "text": f"{LONG} {i}", "label": "ab"[i % 2]} for i in range(12)]
    assert "id" not in taken(*rows)
    assert taken(*({**row, "first": i} for i, row in enumerate(rows)))["id"] == ("first",)


def test_by_content_the_column_of_the_fewest_values_is_the_label_and_the_others_are_told() -> None:
    roles = find_roles(columns_of(*tickets()), {})
    assert (roles["label"].columns, roles["label"].why, roles["label"].others) == (
        ("priority",),
        "by its 2 values",
        ("queue",),
    )
    assert roles["id"].columns == ("ticket",)
    of_two = [row | {"queue": "xy"[i % 2]} for i, row in enumerate(tickets())]
    assert taken(*of_two)["label"] == ("queue",)  # of as few the last


@pytest.mark.parametrize("label", ["01", [0, 1], [True, False], [["a"], ["b"]], [{"a": 1, "b": 2}, {"a": 2}]], ids=str)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_code_of_many_values_is_no_label_beside_one_of_few(label: Any, is_first: bool) -> None:
    rows = []
    for i in range(120):
        own, code = {"flag": label[i % 2]}, {"clerk": f"MA{i % 20:02}", "when": 0.5 * (i % 3)}
        rows.append({"body": f"{LONG} {i}", **(own | code if is_first else code | own)})
    role = find_roles(columns_of(*rows), {})["label"]
    assert (role.columns, role.others, role.is_close) == (("flag",), ("clerk",), True)


@pytest.mark.parametrize("date", ["0{}.01.2024", "2024-01-0{}", "0{}/01/24 10:15", "1{}:30", "2024-0{}"])
def test_a_date_is_the_label_only_where_nothing_else_is(date: str) -> None:
    rows = [{"body": f"{LONG} {i}", "stage": "abcdef"[i % 6], "day": date.format(i % 3)} for i in range(24)]
    role = find_roles(columns_of(*rows), {})["label"]
    assert (role.columns, role.others, role.is_close) == (("stage",), (), False)
    assert taken(*({"body": row["body"], "day": row["day"]} for row in rows))["label"] == ("day",)


def test_a_choice_by_name_is_close_where_another_has_such_a_name() -> None:
    rows = [{"body": LONG, "topic": "ab"[i % 2], "gold": "cd"[i % 2], "queue": "xy"[i % 2]} for i in range(12)]
    for names, is_close in ((("topic", "queue"), False), (("topic", "gold"), True), (("topic", "label"), False)):
        columns = columns_of(*({"body": row["body"], **{n: row.get(n, row["gold"]) for n in names}} for row in rows))
        assert find_roles(columns, {})["label"].is_close == is_close, names


def test_a_column_of_classes_with_gaps_is_told_and_not_taken() -> None:
    rows = [row | {"team": ["a", "b", None][i % 3], "rare": "x" if i == 0 else None} for i, row in enumerate(tickets())]
    role = find_roles(columns_of(*rows), {})["label"]
    assert (role.columns, role.others) == (("priority",), ("queue", "team"))
    with pytest.raises(DataError, match="no column looks like a label"):
        find_roles([column for column in columns_of(*rows) if column.name not in ("queue", "priority")], {})


def customers(name: str, num_rows: int = 60, each: int = 5, **more: Any) -> list[dict[str, Any]]:
    """Rows of which each customer has some."""
    return [{"text": f"{LONG} {i}", "label": "ab"[i % 2], name: 1000 + i // each, **more} for i in range(num_rows)]


@pytest.mark.parametrize(
    "name", ["group", "customer_id", "customerId", "UserID", "thread id", "conversation-id", "Ticket_ID"]
)
def test_rows_of_one_customer_are_a_group(name: str) -> None:
    role = find_roles(columns_of(*customers(name)), {})["group"]
    assert (role.columns, role.others) == ((name,), ())
    assert role.why == "by its name: its rows stay on one side of a split and are drawn together for intervals"


def test_what_is_no_group() -> None:
    """Of other names; of a row each, mostly; of too few values to hold some out; no ids; or read as something else."""
    plain = {"text": ("text",), "label": ("label",)}
    for rows in (
        customers("customer"),
        customers("my_customer_id"),
        customers("customer_id", each=60),
        customers("customer_id", each=10),
        [row | {"customer_id": i if i > 20 else 0} for i, row in enumerate(customers("customer_id"))],
        [row | {"customer_id": [i // 5]} for i, row in enumerate(customers("customer_id"))],
    ):
        assert taken(*rows) == {"input_text": plain["text"], "label": plain["label"]}
    assert taken(*customers("customer_id", each=1))["id"] == ("customer_id",)
    assert "group" not in taken(*customers("customer_id"), label="customer_id")


def test_of_several_groups_the_widest_is_taken_and_the_others_are_told() -> None:
    rows = [row | {"session_id": f"s{i // 2}"} for i, row in enumerate(customers("customer_id"))]
    role = find_roles(columns_of(*rows), {})["group"]
    assert (role.columns, role.others) == (("customer_id",), ("session_id",))


def test_several_texts_are_put_together() -> None:
    columns = columns_of(*tickets())
    role = find_roles(columns, {})["input_text"]
    assert role.columns == ("title", "body")
    assert template_of(role, columns) == "title: {{ title }}\nbody: {{ body }}"


def test_a_template_reads_columns_of_any_name_and_empty_ones() -> None:
    rows = [{"the {text}": f"{LONG} {i}", 'say "x"': LONG if i % 2 else None, "label": "ab"[i % 2]} for i in range(6)]
    columns = columns_of(*rows)
    template = InputTemplate(template_of(find_roles(columns, {})["input_text"], columns))
    assert template.render(rows[0]) == f'the (text): {LONG} 0\nsay "x": '
    assert template.render(rows[1]) == f'the (text): {LONG} 1\nsay "x": {LONG}'


_WORDS = "loop self super caller varargs kwargs row true none None in is recursive range dict namespace context input"


@pytest.mark.parametrize("name", [*_WORDS.split(), "__class__", "Row", "l_1_x", "lambda", "größe", "1st", "a.b", 'a"b'])
def test_a_template_reads_a_column_whose_name_says_something_else(name: str) -> None:
    """However it is filled, and beside one that can be read by `row` alone."""
    rows = [{name: f"{LONG} {i}", "the body": f"{LONG} {-i}", "label": "ab"[i % 2]} for i in range(6)]
    for changed in ({}, {name: None}):
        columns = columns_of(*rows[1:], rows[0] | changed)
        template = InputTemplate(template_of(find_roles(columns, {"label": "label"})["input_text"], columns))
        assert template.render(rows[1]) == f"{name}: {LONG} 1\nthe body: {LONG} -1"
        assert template.variables == {name, "the body"}


def test_a_column_row_of_numbers_hides_no_other() -> None:
    rows = [{"row": i, "the title": LONG, "the body": f"{LONG} {i}", "label": "ab"[i % 2]} for i in range(6)]
    columns = columns_of(*rows)
    roles = find_roles(columns, {})
    assert roles["id"].columns == ("row",)
    template = InputTemplate(template_of(roles["input_text"], columns))
    assert template.render(rows[1]) == f"the title: {LONG}\nthe body: {LONG} 1"


def test_an_empty_cell_is_fine_and_a_column_that_is_not_there_is_none() -> None:
    rows = [{"Subject": LONG * (i > 0), "body text": LONG if i > 1 else None, "label": "ab"[i % 2]} for i in range(6)]
    columns = columns_of(*rows)
    template = InputTemplate(template_of(find_roles(columns, {})["input_text"], columns))
    assert template.render({"Subject": "x", "body text": None}) == "Subject: x\nbody text: "
    for lacking in ({"subject": "x", "body text": "y"}, {"Subject": "x"}, {"Betreff": "x"}):
        with pytest.raises(DataError, match="the row's columns are"):
            template.render(lacking)


def test_a_column_that_training_rows_lack_may_be_absent() -> None:
    rows = [{"body": f"{LONG} {i}", **({"title": "it came late"} if i else {}), "label": "ab"[i % 2]} for i in range(6)]
    columns = columns_of(*rows)
    template = InputTemplate(template_of(find_roles(columns, {})["input_text"], columns))
    assert template.render(rows[0]) == f"body: {LONG} 0\ntitle: "
    with pytest.raises(DataError, match="there is nothing in body, title"):
        template.render({"body": " ", "Titel": "x"})


def test_one_text_needs_no_template() -> None:
    columns = columns_of(*({"x": LONG, "label": "ab"[i % 2]} for i in range(4)))
    assert template_of(find_roles(columns, {})["input_text"], columns) == PLAIN


def test_what_was_given_holds() -> None:
    found = taken(*tickets(), label="priority", input_text="title")
    assert (found["label"], found["input_text"]) == (("priority",), ("title",))
    with pytest.raises(ConfigError, match=r"data\.columns\.label: there is no column 'nope'; the rows have 'ticket'"):
        taken(*tickets(), label="nope")


def test_numbers_are_a_label_only_where_nothing_else_is() -> None:
    rows = [{"text": f"{LONG} {i}", "flag": "ab"[i % 2], "stage": i % 2} for i in range(8)]
    assert taken(*rows)["label"] == ("flag",)
    assert taken(*({"text": row["text"], "stage": row["stage"]} for row in rows))["label"] == ("stage",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": f"{LONG} {i}", "b": f"{LONG} {-i}"} for i in range(9)], "no column looks like a label"),
        ([{"a": 1.5 * i, "label": "xy"[i % 2]} for i in range(9)], "no column holds text"),
    ],
)
def test_where_there_is_no_column_for_it(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=f"{message}: the rows have .*; name it: `data.columns"):
        taken(*rows)


def test_where_the_origin_has_a_template_no_text_is_looked_for() -> None:
    rows = [{"a": i, "label": "xy"[i % 2]} for i in range(9)]
    assert "input_text" not in find_roles(columns_of(*rows), {}, has_template=True)
