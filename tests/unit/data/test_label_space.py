"""Several tasks' labels side by side: from a row's labels to its places in the head, and back to each task."""

from __future__ import annotations

import pytest

from dhrd.data.label_names import Shares
from dhrd.data.label_space import LabelSpace, check_one_task, of_task, one_task, with_label
from dhrd.data.labels import ByTask, LabelSet, LabelSlice
from dhrd.data.records import Example
from dhrd.errors import ConfigError, DataError

DECISION, TAGS = LabelSet(("no", "yes"), ("nope", "yes")), LabelSet(("a", "b", "c"), multi_label=True)
SPACE = LabelSpace.of({"decision": DECISION, "tags": TAGS})


def test_labels_stand_side_by_side() -> None:
    assert SPACE.names == ("decision/no", "decision/yes", "tags/a", "tags/b", "tags/c") and len(SPACE) == 5
    assert SPACE.words == ("nope", "yes", "a", "b", "c")
    assert [(task.name, task.columns) for task in SPACE.slices] == [("decision", slice(0, 2)), ("tags", slice(2, 5))]
    assert SPACE.slice_of("tags").labels is TAGS and SPACE.slice_of(None).labels is DECISION
    assert DECISION.slices == (LabelSlice("", 0, DECISION),)


def test_a_row_has_labels_of_some_tasks() -> None:
    both, one = ByTask({"tags": ("c", "a"), "decision": "yes"}), ByTask({"tags": ()})
    assert (SPACE.encode(both), SPACE.unlabelled(both)) == ((1, 2, 4), ())
    assert (SPACE.encode(one), SPACE.unlabelled(one)) == ((), (0,))
    assert SPACE.named(ByTask({"decision": 1})) == ByTask({"decision": "yes"})  # an integer is a place, as of one task
    assert [task.own((1, 2, 4)) for task in SPACE.slices] == [(1,), (0, 2)]
    assert DECISION.unlabelled("no") == ()


def test_shares_of_one_task_leave_the_others_as_they_are() -> None:
    votes = ByTask({"decision": Shares(("no", "yes"), (1, 3)), "tags": ("b",)})
    assert SPACE.shares(votes) == (0.25, 0.75, 0, 1, 0)
    assert SPACE.shares(ByTask({"decision": Shares(("yes",), (2,))})) == (0, 1, 0, 0, 0)
    assert SPACE.shares(ByTask({"decision": "no", "tags": ("b",)})) is None


def test_a_wrong_label_names_its_task() -> None:
    with pytest.raises(DataError, match=r"^f:3: decision: label: 'maybe' is unknown; labels are 'no', 'yes'"):
        SPACE.encode(ByTask({"decision": "maybe"}), "f:3")
    with pytest.raises(DataError, match="there is no task 'colour'; tasks are decision, tags"):
        SPACE.encode(ByTask({"colour": "red"}), "f:3")
    with pytest.raises(DataError, match="'yes' is for a single task, but there are several"):
        SPACE.encode("yes", "f:3")


def test_an_answer_is_read_as_the_first_task_whose_label_it_is() -> None:
    assert [SPACE.read(answer) for answer in ("nope", "b, c", "neither of them")] == [(0,), (3, 4), None]


def test_rows_of_one_task() -> None:
    both = Example(id="1", label=ByTask({"decision": "no", "tags": ("a",)}), shares=(0.5, 0.5, 1.0, 0.0, 0.0))
    rows = [both, Example(id="2", label=ByTask({"tags": ()}))]
    (decision,) = of_task(rows, "decision", slice(0, 2))
    assert (decision.id, decision.label, decision.shares) == ("1", "no", (0.5, 0.5))
    assert [row.label for row in of_task(rows, "tags")] == [("a",), ()]
    assert of_task(rows, "") == rows


def test_another_label_of_one_task() -> None:
    row = Example(label=ByTask({"decision": "no", "tags": ("a",)}), shares=(0.5, 0.5, 1.0, 0.0, 0.0))
    other = with_label(row, SPACE.slice_of("decision"), 1)
    assert (other.label, other.shares) == (ByTask({"decision": "yes", "tags": ("a",)}), (0, 1, 1, 0, 0))
    alone = with_label(Example(label="no", shares=(0.5, 0.5)), DECISION.slices[0], 1)
    assert (alone.label, alone.shares) == ("yes", None)


def test_tasks_that_leave_places_out_are_refused() -> None:
    with pytest.raises(AssertionError, match="leave places out"):
        LabelSpace(SPACE.names, tasks=(SPACE.tasks[0], LabelSlice("tags", 3, TAGS)))
    with pytest.raises(AssertionError, match="not those of the tasks"):
        LabelSpace(("a", "b"), tasks=SPACE.tasks)


def test_what_is_of_one_task_says_so() -> None:
    check_one_task(DECISION, "a decision")
    told = r"a decision supports a single task, .*`tasks` \(decision, tags\); train a model for one task only"
    with pytest.raises(ConfigError, match=told):
        check_one_task(SPACE, "a decision")


def test_a_task_is_asked_for_by_its_name() -> None:
    assert one_task(SPACE, "tags") == LabelSlice("tags", 2, TAGS)
    assert one_task(DECISION, None) == LabelSlice("", 0, DECISION)
    assert one_task(LabelSpace.of({"tags": TAGS}), None) == LabelSlice("tags", 0, TAGS)
    for labels, name, told in (
        (SPACE, None, "this model has several tasks; give `task`, one of decision, tags"),
        (SPACE, "mood", "`task=mood`: there is no such task; give `task`, one of decision, tags"),
        (DECISION, "tags", "`task=tags`: this model has a single, unnamed task; leave it out"),
    ):
        with pytest.raises(ConfigError, match=f"^{told}$"):
            one_task(labels, name)
