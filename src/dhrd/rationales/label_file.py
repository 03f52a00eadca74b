"""The labels that a teacher chooses among, with what each means: a YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml

from dhrd.config import RunConfig
from dhrd.data.label_names import clean_name
from dhrd.data.label_sets import infer_labels
from dhrd.data.labels import LabelSet
from dhrd.errors import ConfigError, DataError

_FORM = "write one `NAME: what it means` per line, or a list of names"
_NULLS = ("", "~", "null")


def labels_to_choose(config: RunConfig, own: LabelSet | None) -> tuple[LabelSet, dict[str, str]]:
    """The label set, and what each label's word means ("" where nobody says).

    Args:
        config: Its `teacher.labels` takes precedence over `data.labels`, and both over `own`.
        own: The label set of the rows' origin, if it has one.

    Raises:
        ConfigError: There is none; the file cannot be read or is not a label file; or rows may have several labels.
        DataError: Some labels are indistinguishable.
    """
    if config.data.multi_label:
        raise ConfigError("data.multi_label: a teacher gives each row one label here; leave it out")
    if config.teacher.labels is not None:
        return _read(Path(config.teacher.labels).expanduser())
    if config.data.labels is not None:
        own = infer_labels([], names=config.data.labels)
    if own is None:
        raise ConfigError("no labels given; use `teacher.labels=FILE` (YAML: NAME: what it means), or data.labels")
    return own, dict.fromkeys(own.words, "")


def _read(path: Path) -> tuple[LabelSet, dict[str, str]]:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}; {_FORM}") from error
    pairs = _pairs(root, path)
    try:
        labels = infer_labels([], names=[name for name, _ in pairs])
    except DataError as error:
        raise ConfigError(f"{path}: {error}") from None
    return labels, {clean_name(name): meaning for name, meaning in pairs}


def _pairs(root: yaml.Node | None, path: Path) -> list[tuple[str, str]]:
    """Names and meanings as they are written: `no` is a name and not a boolean, and a name twice is there twice."""
    if isinstance(root, yaml.MappingNode):
        return [(_text(name, path), _text(meaning, path, _NULLS)) for name, meaning in root.value]
    if isinstance(root, yaml.SequenceNode):
        return [(_text(name, path), "") for name in root.value]
    raise ConfigError(f"{path}: contains no labels; {_FORM}")


def _text(node: yaml.Node, path: Path, nulls: tuple[str, ...] = ()) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: a label and its meaning must be text; {_FORM}")
    text = " ".join(str(node.value).split())
    return "" if node.style is None and text.lower() in nulls else text
