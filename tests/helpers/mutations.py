"""Damage for JSON and bytes, as hypothesis strategies: what a fuzzer, a bad disk and a bad person would do."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 0.5, -0.0, 10**9, 2**63, -(2**63), 10**40, 1e308, float("inf"), float("nan"),
    "", " ", "0", "x", "null", "../x", "/dev/zero", "hub:a/b", "a" * 10_000, "\x1b]0;title\x07", "\ud800", "\0", "é",
    "{{", [], [None], [[]], [0] * 1000, ["a", "a"], {}, {"": None}, {"a": {"b": [1]}},
]  # fmt: skip
"""Values that a field may have instead of its own."""


def _deep() -> Any:
    value: Any = 1
    for _ in range(400):  # as deep as `json.dumps` writes
        value = [value]
    return value


def _paths(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every node of nested JSON, the root first; long lists by their first items."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree[:20]) if isinstance(tree, list) else ()
    return [here, *(path for key, child in list(children)[:60] for path in _paths(child, (*here, key)))]


@st.composite
def mutated_json(draw: st.DrawFn, tree: Any) -> str:
    """JSON text of a tree in which one to three nodes are odd, gone, moved to another name, or deep."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = [None, *draw(st.sampled_from(_paths(tree)))]
        act = draw(st.sampled_from(["odd", "odd", "odd", "drop", "rename", "deep"]))
        value = _deep() if act == "deep" else copy.deepcopy(draw(st.sampled_from(ODD)))  # the next act may change it
        if not parents:  # the root
            tree = value
            continue
        node = tree
        for key in parents[1:]:
            node = node[key]
        if act == "drop":
            del node[last]
        elif act == "rename" and isinstance(node, dict):
            node[draw(st.text(max_size=5))] = node.pop(last)
        else:
            node[last] = value
    return json.dumps(tree)


@st.composite
def mutated_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes of which some are flipped, cut off, doubled or replaced."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        some = draw(st.sampled_from([b"", b"\0", b"\xff\xfe", b"\n", b'"', b"[", b"{", b",", b"9" * 30, b"\x1b[31m"]))
        length = draw(st.sampled_from([0, 1, 2, 8, len(data)]))
        data[start : start + length] = some
    return bytes(data)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """A file's content, damaged as bytes, or as JSON where it is that."""
    try:
        tree = json.loads(content)
    except ValueError:
        return mutated_bytes(content)
    return st.one_of(mutated_json(tree).map(_encoded), mutated_bytes(content))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
