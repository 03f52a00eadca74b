"""Several tasks in one head: their labels concatenated as `task/label`, each task with its own softmax or sigmoids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dhrd._text import shown
from dhrd.data.labels import ByTask, Label, LabelSet, LabelSlice
from dhrd.data.records import Example
from dhrd.errors import ConfigError, DataError

SEPARATOR = "/"
"""Between a task's name, which has none, and its label's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSpace(LabelSet):
    """The labels of several tasks as one label set, of which a row has some of each task; `ByTask` is its label.

    Args:
        tasks: The tasks in the order of their places, without gaps.
    """

    tasks: tuple[LabelSlice, ...]

    @classmethod
    def of(cls, tasks: Mapping[str, LabelSet]) -> LabelSpace:
        """The label sets of tasks by their names, side by side."""
        slices: list[LabelSlice] = []
        for name, labels in tasks.items():
            slices.append(LabelSlice(name, slices[-1].columns.stop if slices else 0, labels))
        words = tuple(word for labels in tasks.values() for word in labels.words)
        return cls(_names(slices), words, multi_label=True, tasks=tuple(slices))

    def __post_init__(self) -> None:
        LabelSet.__post_init__(self)
        starts = [0, *(task.columns.stop for task in self.tasks)]
        assert self.names == _names(self.tasks), "names: not those of the tasks, side by side"
        assert [task.start for task in self.tasks] == starts[:-1], "tasks: they leave places out, or share some"
        assert len({task.name for task in self.tasks}) == len(self.tasks), "tasks: two have the same name"

    @property
    def slices(self) -> tuple[LabelSlice, ...]:
        """The tasks side by side."""
        return self.tasks

    def encode(self, label: Label, where: str = "") -> tuple[int, ...]:
        """As a label set's; the class indices of all tasks that the row has a label of."""
        return tuple(task.start + index for task, own, at in self._each(label, where)
                     for index in task.labels.encode(own, at))  # fmt: skip

    def shares(self, label: Label, where: str = "") -> tuple[float, ...] | None:
        """As a label set's, where a task has shares: of the others the label has 1, of those without one all have 0."""
        own_shares = {task.name: task.labels.shares(own, at) for task, own, at in self._each(label, where)}
        if all(shares is None for shares in own_shares.values()):
            return None
        share_C = [0.0] * len(self)
        for index in self.encode(label, where):
            share_C[index] = 1.0
        for task in self.tasks:
            if (shares := own_shares.get(task.name)) is not None:
                share_C[task.columns] = shares
        return tuple(share_C)

    def named(self, label: Label, where: str = "") -> ByTask:  # type: ignore[override]  # a name, or names, of each task
        """A row's labels by name, each task's as its own label set has it."""
        return ByTask({task.name: task.labels.named(own, at) for task, own, at in self._each(label, where)})

    def read(self, answer: str) -> tuple[int, ...] | None:
        """As a label set's, of the first task whose label it is: an answer does not say of which task it is."""
        for task in self.tasks:
            if (found := task.labels.read(answer)) is not None:
                return tuple(task.start + index for index in found)
        return None

    def respelled(self, spell: Callable[[Sequence[str]], Sequence[str]]) -> LabelSpace:
        """As a label set's, task by task."""
        return LabelSpace.of({task.name: task.labels.respelled(spell) for task in self.tasks})

    def _each(self, label: Label, where: str) -> Iterator[tuple[LabelSlice, Label, str]]:
        labels = _by_task(label, where)
        if odd := [name for name in labels if name not in {task.name for task in self.tasks}]:
            raise DataError(f"{where}: label: there is no task {shown(odd[0])}; tasks are {_listed(self.tasks)}")
        yield from ((task, labels[task.name], f"{where}: {task.name}") for task in self.tasks if task.name in labels)


def _by_task(label: Label, where: str = "") -> Mapping[str, Label]:
    if not isinstance(label, ByTask):
        raise DataError(
            f"{where}: label: {shown(label)} is for a single task, but there are several; give a label for each"
        )
    return label.labels


def _names(tasks: Iterable[LabelSlice]) -> tuple[str, ...]:
    return tuple(f"{task.name}{SEPARATOR}{name}" for task in tasks for name in task.labels.names)


def _listed(tasks: Iterable[LabelSlice]) -> str:
    return ", ".join(task.name for task in tasks)


def of_task(examples: Iterable[Example], name: str, columns: slice = slice(None)) -> list[Example]:
    """The rows that have a label of a task, as rows of that task alone; unchanged if it is the only one.

    Args:
        examples: Rows of several tasks, or of one.
        name: The task's name; "" for the only one.
        columns: The places of its labels, if the rows have shares.
    """
    if not name:
        return list(examples)
    return [
        replace(example, label=example.label.labels[name], shares=example.shares and example.shares[columns])
        for example in examples
        if isinstance(example.label, ByTask) and name in example.label.labels
    ]


def with_label(example: Example, task: LabelSlice, index: int) -> Example:
    """A row with another label of one task, and no shares of it; of the other tasks it has what it had."""
    name = task.labels.names[index]
    if not isinstance(example.label, ByTask):
        return replace(example, label=name, shares=None)
    shares = None if example.shares is None else list(example.shares)
    if shares is not None:
        shares[task.columns] = [float(place == index) for place in range(len(task.labels))]
    label = ByTask({**example.label.labels, task.name: name})
    return replace(example, label=label, shares=None if shares is None else tuple(shares))


def check_one_task(labels: LabelSet, what: str) -> None:
    """Refuse several tasks where only one makes sense.

    Args:
        labels: The labels of a run or an artifact.
        what: What was requested.

    Raises:
        ConfigError: There are several tasks.
    """
    if isinstance(labels, LabelSpace):
        raise ConfigError(
            f"{what} supports a single task, but this model was trained with `tasks` ({_listed(labels.tasks)}); train "
            "a model for one task only: without `tasks`, and with the column of its labels as `data.columns.label`"
        )


def one_task(labels: LabelSet, name: str | None) -> LabelSlice:
    """The requested task.

    Args:
        labels: The labels of a run or an artifact.
        name: The task's name; None: the only one.

    Raises:
        ConfigError: There is no task with that name, or there are several and none is named.
    """
    if name is None and len(labels.slices) == 1:
        return labels.slices[0]
    if not isinstance(labels, LabelSpace):
        raise ConfigError(f"`task={name}`: this model has a single, unnamed task; leave it out")
    if found := [task for task in labels.tasks if task.name == name]:
        return found[0]
    given = "this model has several tasks" if name is None else f"`task={name}`: there is no such task"
    raise ConfigError(f"{given}; give `task`, one of {_listed(labels.tasks)}")
