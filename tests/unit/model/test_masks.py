"""Masks told by hand, on a handful of tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dhrd.model.masks import FULL, SLIDING, kinds_of, layer_masks, why_no_masks


def config(**fields: Any) -> Any:
    return SimpleNamespace(**{"_attn_implementation": "sdpa"} | fields)


def test_kinds_of_layers() -> None:
    assert kinds_of(config()) == kinds_of(config(sliding_window=None)) == {FULL}
    assert kinds_of(config(sliding_window=4)) == {SLIDING}
    assert kinds_of(config(layer_types=[FULL, SLIDING, FULL], sliding_window=4)) == {FULL, SLIDING}


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({}, ""),
        ({"_attn_implementation": "eager"}, ""),
        ({"layer_types": [FULL, "linear_attention"]}, "attend in ways that dhrd does not know"),
        ({"_attn_implementation": "flash_attention_2"}, "by flash_attention_2 takes no masks"),
    ],
)
def test_what_keeps_a_backbone_from_masks(fields: dict[str, Any], part: str) -> None:
    reason = why_no_masks(config(**fields))
    assert part in reason and bool(part) == bool(reason)


def test_a_window_is_by_position_not_by_place() -> None:
    visible_BTK = torch.tensor([[[True, True, False], [True, True, True]]])
    position_BT, key_position_BK = torch.tensor([[5, 9]]), torch.tensor([[4, 8, 9]])
    masks = layer_masks(
        visible_BTK, position_BT, key_position_BK, config(layer_types=[FULL, SLIDING], sliding_window=3), torch.float32
    )
    assert (masks[FULL] == 0).tolist() == [[[[True, True, False], [True, True, True]]]]
    assert (masks[SLIDING] == 0).tolist() == [[[[True, True, False], [False, True, True]]]]
    assert masks[FULL].min() == torch.finfo(torch.float32).min


def test_one_kind_is_one_mask_of_the_backbones_type() -> None:
    ones = torch.ones(1, 2, 2, dtype=torch.bool)
    mask = layer_masks(ones, torch.arange(2)[None], torch.arange(2)[None], config(), torch.bfloat16)
    assert (mask.shape, mask.dtype) == ((1, 1, 2, 2), torch.bfloat16)
