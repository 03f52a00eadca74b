"""The forward passes of a plan: rows of similar length together, packs together, and packs after a prefix."""

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
        pooling: Pooling of a row's hidden states.
        pad_token_id: Token for padding, which no row attends to.
        options: Options of the engine.

    Attributes:
        kept: Prefixes of earlier batches.
        work: Counts of the work so far.

    Raises:
        ModelError: There is no such pooling.
    """

    def __init__(self, body: PreTrainedModel, *, pooling: Pooling, pad_token_id: int, options: Options) -> None:
        self.body, self.pooling, self.pad_token_id, self.options = body, pooling, pad_token_id, options
        self._pooler = pooler(pooling)
        self.kept = KeptPrefixes(options.max_kept_tokens, options.pass_overhead_tokens)
        self.work = Work()

    def run(self, groups: Sequence[Group], input_ids: Sequence[list[int]]) -> Iterator[tuple[list[int], Tensor]]:
        """Yield row indices and their pooled hidden states, (N, D), pass by pass."""
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
        """The kept prefix of a group, looked up before a pass can evict it."""
        return self.kept.find(input_ids[group.packs[0].rows[0]][: group.num_kept_tokens])

    def _side_by_side(self, packs: list[Pack]) -> Iterator[list[Pack]]:
        lengths = [pack.num_tokens for pack in packs]
        for bucket in buckets(lengths, self.options.max_tokens_per_pass, self.options.pass_overhead_tokens):
            yield [packs[index] for index in bucket]

    def _rows_pass(self, rows: list[int], input_ids: Sequence[list[int]]) -> tuple[list[int], Tensor]:
        """Ordinary rows, padded on the right, so that causal attention needs no mask."""
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
        """Run the prefix once, keep its keys and values, then run each pack. Layers with a sliding window keep all of
        them too; the mask says which ones a token sees."""
        length = group.num_prefix_tokens
        with torch.compiler.set_stance("force_eager"):  # compiled code would specialise on each cache
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
        """Compute the keys and values of a prefix, continuing from a kept part if there is one."""
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
