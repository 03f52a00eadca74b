"""The engine: from token ids to class logits, with prefix sharing, batches by tokens, and one head call per pass.

inputs → plan (prefixes.py) → passes (passes.py) → one pooled vector a row → head → logits in the inputs' order
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dhrd.config.model import Pooling
from dhrd.data.prefixes import Group, SharingCost, apart, plan_sharing
from dhrd.inference.engine.exactness import engine_states
from dhrd.inference.engine.options import Options, Work
from dhrd.inference.engine.passes import Passes
from dhrd.model.compiled import compile_layers
from dhrd.model.exactness import why_not_exact
from dhrd.model.flops import forward_cost

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger("dhrd")

_LONGEST_PACK = 4096  # its mask grows with the square of this, for each kind of layer


class Engine:
    """Runs a backbone and a classification head over any number of inputs.

    Args:
        body: The backbone without LM head.
        head: Maps pooled hidden states to logits.
        pooling: Pooling of a row's hidden states.
        pad_token_id: Token for padding, which no row attends to.
        options: Options; None: defaults for the device.
    """

    def __init__(
        self,
        body: PreTrainedModel,
        head: nn.Module,
        *,
        pooling: Pooling,
        pad_token_id: int,
        options: Options | None = None,
    ) -> None:
        self.body, self.head = body, head
        self.options = options or Options.best(body.device)
        self.passes = Passes(body, pooling=pooling, pad_token_id=pad_token_id, options=self.options)
        self.cost = forward_cost(body)
        self._sharing_checked = False

    @property
    def work(self) -> Work:
        """Counts of the work so far."""
        return self.passes.work

    def logits(self, input_ids: Sequence[list[int]]) -> Tensor:
        """Class logits, (rows, C) in fp32 on the CPU, in the order of the inputs.

        Args:
            input_ids: Tokens of each input, none empty.
        """
        return self._in_order(input_ids, lambda pooled_ND: self.head(pooled_ND).float())

    def pooled(self, input_ids: Sequence[list[int]]) -> Tensor:
        """The pooled vector of each input, (rows, D) in fp32 on the CPU, in the order of the inputs.

        Args:
            input_ids: Tokens of each input, none empty.
        """
        return self._in_order(input_ids, Tensor.float)

    def _in_order(self, input_ids: Sequence[list[int]], read: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `read` to the pooled vectors pass by pass, and restore the order of the inputs."""
        order: list[int] = []
        parts: list[Tensor] = []
        groups = self._plan(input_ids)
        with torch.inference_mode():
            for rows, pooled_ND in self.passes.run(groups, input_ids):
                order.extend(rows)
                parts.append(read(pooled_ND))
            found_N = torch.cat(parts).cpu()  # copied once, so that a GPU never waits between passes
        result_N = torch.empty_like(found_N)
        result_N[torch.tensor(order)] = found_N
        return result_N

    def compile(self) -> None:
        """Compile each layer of the backbone, and run it once for each shape that triggers compilation.

        Raises:
            ConfigError: Compilation fails on this machine.
        """
        compile_layers(_layers(self.body), self._run_both_shapes, "compile")

    @torch.inference_mode()
    def _run_both_shapes(self) -> None:
        for rows in ([[0] * 16] * 2, [[0] * 16]):
            self.body(input_ids=torch.tensor(rows, device=self.body.device), use_cache=False)

    def _plan(self, input_ids: Sequence[list[int]]) -> list[Group]:
        if not self.options.share_prefixes or (len(input_ids) == 1 and not self.options.max_kept_tokens):
            return apart([len(ids) for ids in input_ids])
        groups = plan_sharing(input_ids, self._sharing_cost(), self.passes.kept.past(input_ids))
        shares = any(g.num_prefix_tokens or len(pack.rows) > 1 for g in groups for pack in g.packs)
        if shares and not self._sharing_is_exact():
            return apart([len(ids) for ids in input_ids])
        return groups

    def _sharing_cost(self) -> SharingCost:
        longest = self.options.max_tokens_per_pass
        return SharingCost(
            pair=self.cost.tokens_per_pair,
            overhead=self.options.pass_overhead_tokens,
            max_pack_tokens=max(1, min(longest // 2, _LONGEST_PACK)),
            max_suffix_tokens=max(1, min(longest // 4, _LONGEST_PACK)),
        )

    def _sharing_is_exact(self) -> bool:
        """Whether sharing is exact for this model; checked once, and turned off if it is not."""
        if not self._sharing_checked:
            self._sharing_checked = True
            if reason := why_not_exact(self.body, engine_states):
                logger.warning("prefix sharing is off: %s", reason)
                self.options = replace(self.options, share_prefixes=False)
        return self.options.share_prefixes


def _layers(body: PreTrainedModel) -> Iterable[nn.Module]:
    """The backbone's layers, whatever their name in its family; the whole backbone if they are not found."""
    count = body.config.get_text_config().num_hidden_layers
    return next((m for m in body.modules() if isinstance(m, nn.ModuleList) and len(m) == count), [body])
