"""Forward passes of a plan: rows alike in length side by side, packs side by side, packs after a prefix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dhrd.config.model import Pooling
from dhrd.data.buckets import buckets
from dhrd.data.collate import pad_inputs
from dhrd.data.prefixes import Group, Pack
from dhrd.data.tree import lay_out
from dhrd.inference.engine.kept import KeptPrefixes, Prefix
from dhrd.inference.engine.options import Options, Work
from dhrd.model.pooling import pool, pool_rows, pooler, tree_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Passes:
    """Runs a backbone over planned inputs.

    Args:
        body: The backbone without LM head.
        pooling: Of a row's hidden states.
        pad_token_id: Fills up; no row sees it.
        options: How passes are filled.

    Attributes:
        kept: Prefixes of earlier batches.
        work: What was computed so far.

    Raises:
        ModelError: There is no such pooling.
    """

    def __init__(self, body: PreTrainedModel, *, pooling: Pooling, pad_token_id: int, options: Options) -> None:
        self.body, self.pooling, self.pad_token_id, self.options = body, pooling, pad_token_id, options
        self._pooler = pooler(pooling)
        self.kept = KeptPrefixes(options.max_kept_tokens, options.pass_overhead_tokens)
        self.work = Work()

    def run(self, groups: Sequence[Group], input_ids: Sequence[list[int]]) -> Iterator[tuple[list[int], Tensor]]:
        """Row indices and their pooled hidden states, (N, D), pass by pass."""
        self.work.count(groups, input_ids)
        prefixed = [(group, self._kept_of(group, input_ids)) for group in groups if group.num_prefix_tokens]
        standing = [pack for group in groups if not group.num_prefix_tokens for pack in group.packs]
        for packs in self._side_by_side([pack for pack in standing if len(pack.rows) == 1]):
            yield self._rows_pass([pack.rows[0] for pack in packs], input_ids)
        for packs in self._side_by_side([pack for pack in standing if len(pack.rows) > 1]):
            tree = lay_out(packs, input_ids, pad_token_id=self.pad_token_id).to(self.body.device)
            self._ran(tree.input_ids_SW)
            rows = [row for pack in packs for row in pack.rows]
            yield rows, pool_rows(tree_states(self.body, tree), tree.place_BT, self._pooler)
        for group, prefix in prefixed:
            yield from self._after_prefix(group, prefix, input_ids)
        self.kept.remember(groups, input_ids)

    def _kept_of(self, group: Group, input_ids: Sequence[list[int]]) -> Prefix | None:
        """Found before anything runs, which may displace it."""
        return self.kept.find(input_ids[group.packs[0].rows[0]][: group.num_kept_tokens])

    def _side_by_side(self, packs: list[Pack]) -> Iterator[list[Pack]]:
        lengths = [pack.num_tokens for pack in packs]
        for bucket in buckets(lengths, self.options.max_tokens_per_pass, self.options.pass_overhead_tokens):
            yield [packs[index] for index in bucket]

    def _rows_pass(self, rows: list[int], input_ids: Sequence[list[int]]) -> tuple[list[int], Tensor]:
        """Ordinary rows. Padded on the right, which no token before it sees: causal attention needs no mask for it."""
        batch = pad_inputs([input_ids[row] for row in rows], pad_token_id=self.pad_token_id).to(self.body.device)
        self._ran(batch.input_ids_BT)
        position_T = torch.arange(batch.input_ids_BT.shape[1], device=self.body.device)
        hidden_BTD = self.body(
            input_ids=batch.input_ids_BT, position_ids=position_T.expand_as(batch.input_ids_BT), use_cache=False
        ).last_hidden_state
        return rows, pool(hidden_BTD, batch, self.pooling)

    def _after_prefix(
        self, group: Group, prefix: Prefix | None, input_ids: Sequence[list[int]]
    ) -> Iterator[tuple[list[int], Tensor]]:
        """The prefix once, its keys and values kept, then each pack. Layers with a window keep them all, too: which
        of them a token sees is said by its mask."""
        length = group.num_prefix_tokens
        with torch.compiler.set_stance("force_eager"):  # compiled code knows a cache by its layers, each anew
            if prefix is None or prefix.num_tokens < length:
                ids = input_ids[group.packs[0].rows[0]][:length]
                prefix = self._prefix(ids, prefix)
                self.kept.offer(ids, prefix)
            for pack in group.packs:
                tree = lay_out([pack], input_ids, pad_token_id=self.pad_token_id, num_prefix_tokens=length)
                tree = tree.to(self.body.device)
                self._ran(tree.input_ids_SW)
                hidden_SWD = tree_states(self.body, tree, prefix.fork())
                yield list(pack.rows), pool_rows(hidden_SWD, tree.place_BT, self._pooler, prefix.hidden_PD)

    def _prefix(self, ids: list[int], begun: Prefix | None) -> Prefix:
        """Keys and values of tokens, of which the first may be there."""
        from transformers import DynamicCache

        if begun is None:
            cache = DynamicCache()
            prefix_BT = torch.tensor([ids], device=self.body.device)
            position_BT = torch.arange(len(ids), device=self.body.device)[None]
            output = self.body(input_ids=prefix_BT, position_ids=position_BT, past_key_values=cache, use_cache=True)
            hidden_PD = output.last_hidden_state[0]
            self._ran(prefix_BT)
        else:
            cache, before = begun.fork(), begun.num_tokens
            rest = Pack((0,), (before,), len(ids) - before)
            tree = lay_out([rest], [ids], pad_token_id=self.pad_token_id, num_prefix_tokens=before)
            hidden_PD = tree_states(self.body, tree.to(self.body.device), cache)[0]
            self._ran(tree.input_ids_SW)
            hidden_PD = hidden_PD if begun.hidden_PD is None else torch.cat([begun.hidden_PD, hidden_PD])
        return Prefix(cache, len(ids), None if self._pooler.reads_last_alone else hidden_PD)

    def _ran(self, input_ids_BT: Tensor) -> None:
        self.work.num_passes += 1
        self.work.num_run_tokens += input_ids_BT.numel()
