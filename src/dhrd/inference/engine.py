"""Token ids to class logits, as fast as the machine allows: shared text once, batches by tokens, one head call a pass.

inputs → plan (prefixes.py) → passes: rows alike in length side by side, packs side by side, packs after a prefix
       → hidden states → pool → head on one vector a row → logits in the inputs' order
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dhrd.data.collate import collate
from dhrd.data.records import EncodedExample
from dhrd.errors import ConfigError
from dhrd.inference import tree
from dhrd.inference.batching import buckets
from dhrd.inference.prefixes import Group, Pack, SharingCost, apart, plan_sharing
from dhrd.model.flops import causal_pairs, forward_cost
from dhrd.model.pooling import Pooling, pool

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger("dhrd")

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the engine runs.

    Args:
        max_tokens_per_pass: Padding included; a longer row runs alone. It bounds the memory of a pass.
        pass_overhead_tokens: What a pass costs beyond its tokens, in tokens: padding up to it is cheaper than a pass.
        share_prefixes: Compute the first tokens that rows have in common once, where that costs less.
    """

    max_tokens_per_pass: int
    pass_overhead_tokens: int
    share_prefixes: bool = True

    @classmethod
    def best(
        cls, device: torch.device, max_tokens_per_pass: int | None = None, *, share_prefixes: bool = True
    ) -> Options:
        """What suits a device."""
        tokens, overhead = (2048, 128) if device.type == "cpu" else (32768, 2048)
        return cls(
            max_tokens_per_pass=max_tokens_per_pass or tokens,
            pass_overhead_tokens=overhead,
            share_prefixes=share_prefixes,
        )


@dataclass(slots=True)
class Work:
    """What was computed.

    Args:
        num_rows: Inputs.
        num_tokens: Of the inputs.
        num_needed_tokens: After sharing.
        num_run_tokens: With padding.
        num_needed_pairs: (query, key) pairs of attention that the needed tokens have.
        num_passes: Calls of the backbone.
    """

    num_rows: int = 0
    num_tokens: int = 0
    num_needed_tokens: int = 0
    num_run_tokens: int = 0
    num_needed_pairs: int = 0
    num_passes: int = 0

    @property
    def padding_ratio(self) -> float:
        """Positions run for each token needed: 1 is no padding."""
        return self.num_run_tokens / max(1, self.num_needed_tokens)

    @property
    def sharing_ratio(self) -> float:
        """Tokens of the inputs for each token needed: 1 is nothing shared."""
        return self.num_tokens / max(1, self.num_needed_tokens)

    def __sub__(self, before: Work) -> Work:
        return Work(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))


class Engine:
    """Runs a backbone and a classification head over any number of inputs.

    Args:
        body: The backbone without LM head.
        head: From pooled hidden states to logits.
        pooling: `last` or `mean`.
        pad_token_id: Fills up; no row sees it.
        options: None: what suits the device.
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
        self.body, self.head, self.pooling, self.pad_token_id = body, head, pooling, pad_token_id
        self.options = options or Options.best(body.device)
        self.work = Work()
        self.cost = forward_cost(body)
        self._sharing_checked = False

    def logits(self, input_ids: Sequence[list[int]]) -> Tensor:
        """Class logits, (rows, C) in fp32 on the CPU, in the order of the inputs.

        Args:
            input_ids: Tokens of each input, none empty.
        """
        order: list[int] = []
        parts: list[Tensor] = []
        groups = self._plan(input_ids)
        with torch.inference_mode():
            for rows, pooled_ND in self._passes(groups, input_ids):
                order.extend(rows)
                parts.append(self.head(pooled_ND).float())
            found_NC = torch.cat(parts).cpu()  # once, so that a GPU never waits for the next pass to be laid out
        self._count(groups, input_ids)
        logits_NC = torch.empty_like(found_NC)
        logits_NC[torch.tensor(order)] = found_NC
        return logits_NC

    def compile(self) -> None:
        """Compile each layer of the backbone, and run it once in each of the shapes that differ to the compiler.

        Layers are alike, so that the first is compiled for all; the whole model would take several times as long.

        Raises:
            ConfigError: It does not work here.
        """
        for layer in _layers(self.body):
            layer.compile(dynamic=True)
        one, several = [[0] * 16], [[0] * 16] * 2
        try:
            with torch.inference_mode():
                for rows in (several, one):
                    self.body(input_ids=torch.tensor(rows, device=self.body.device), use_cache=False)
        except Exception as error:  # compilers fail in many ways, none of them a defect of the model
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"--compile: torch.compile failed here ({reason}); leave it out") from error

    def _plan(self, input_ids: Sequence[list[int]]) -> list[Group]:
        if not self.options.share_prefixes or len(input_ids) == 1:
            return apart([len(ids) for ids in input_ids])
        groups = plan_sharing(input_ids, self._sharing_cost())
        if any(len(pack.rows) > 1 for group in groups for pack in group.packs) and not self._sharing_is_exact():
            return apart([len(ids) for ids in input_ids])
        return groups

    def _sharing_cost(self) -> SharingCost:
        longest = self.options.max_tokens_per_pass
        return SharingCost(
            pair=self.cost.tokens_per_pair,
            overhead=self.options.pass_overhead_tokens,
            max_pack_tokens=min(longest, 4096),
            max_suffix_tokens=max(1, longest // 2),
        )

    def _passes(self, groups: Sequence[Group], input_ids: Sequence[list[int]]) -> Iterator[tuple[list[int], Tensor]]:
        """Row indices and pooled hidden states, (N, D), pass by pass."""
        standing = [pack for group in groups if not group.num_prefix_tokens for pack in group.packs]
        for packs in self._side_by_side([pack for pack in standing if len(pack.rows) == 1]):
            yield self._rows_pass([pack.rows[0] for pack in packs], input_ids)
        for packs in self._side_by_side([pack for pack in standing if len(pack.rows) > 1]):
            batch = tree.lay_out(packs, input_ids, pad_token_id=self.pad_token_id)
            self._ran(batch.input_ids_BT)
            yield batch.rows, tree.pool_rows(tree.hidden_states(self.body, batch), batch, self.pooling)
        for group in groups:
            if group.num_prefix_tokens:
                yield from self._after_prefix(group, input_ids)

    def _side_by_side(self, packs: list[Pack]) -> Iterator[list[Pack]]:
        lengths = [pack.num_tokens for pack in packs]
        for bucket in buckets(lengths, self.options.max_tokens_per_pass, self.options.pass_overhead_tokens):
            yield [packs[index] for index in bucket]

    def _rows_pass(self, rows: list[int], input_ids: Sequence[list[int]]) -> tuple[list[int], Tensor]:
        """Ordinary rows. Padded on the right, which no token before it sees: causal attention needs no mask for it."""
        examples = [EncodedExample(id="", input_ids=input_ids[r], continuation_ids=[], label=()) for r in rows]
        batch = collate(examples, pad_token_id=self.pad_token_id).to(self.body.device)
        self._ran(batch.input_ids_BT)
        position_T = torch.arange(batch.input_ids_BT.shape[1], device=self.body.device)
        hidden_BTD = self.body(
            input_ids=batch.input_ids_BT, position_ids=position_T.expand_as(batch.input_ids_BT), use_cache=False
        ).last_hidden_state
        return rows, pool(hidden_BTD, batch, self.pooling)

    def _after_prefix(self, group: Group, input_ids: Sequence[list[int]]) -> Iterator[tuple[list[int], Tensor]]:
        """The prefix once, its keys and values kept, then each pack. Layers with a window keep them all, too: which
        of them a token sees is said by its mask."""
        from transformers import DynamicCache

        length = group.num_prefix_tokens
        prefix_BT = torch.tensor([input_ids[group.packs[0].rows[0]][:length]], device=self.body.device)
        position_BT = torch.arange(length, device=self.body.device)[None]
        with torch.compiler.set_stance("force_eager"):  # compiled code knows a cache by its layers, each anew
            kept = DynamicCache()
            prefix_PD = self.body(
                input_ids=prefix_BT, position_ids=position_BT, past_key_values=kept, use_cache=True
            ).last_hidden_state[0]
            self._ran(prefix_BT)
            for pack in group.packs:
                batch = tree.lay_out([pack], input_ids, pad_token_id=self.pad_token_id, num_prefix_tokens=length)
                self._ran(batch.input_ids_BT)
                hidden_BTD = tree.hidden_states(self.body, batch, _fork(kept))
                yield batch.rows, tree.pool_rows(hidden_BTD, batch, self.pooling, prefix_PD)

    def _ran(self, input_ids_BT: Tensor) -> None:
        self.work.num_passes += 1
        self.work.num_run_tokens += input_ids_BT.numel()

    def _count(self, groups: Sequence[Group], input_ids: Sequence[list[int]]) -> None:
        self.work.num_rows += len(input_ids)
        self.work.num_tokens += sum(map(len, input_ids))
        for group in groups:
            self.work.num_needed_tokens += group.num_prefix_tokens
            self.work.num_needed_pairs += causal_pairs(group.num_prefix_tokens)
            for pack in group.packs:
                self.work.num_needed_tokens += pack.num_tokens
                for row, shared in zip(pack.rows, pack.shared, strict=True):
                    self.work.num_needed_pairs += causal_pairs(len(input_ids[row]) - shared, shared)

    def _sharing_is_exact(self) -> bool:
        """Whether this model gives the same with shared text, found out once on a few tokens.

        A family may build its attention from what a mask cannot say (ALiBi, recurrent state); it then runs rows apart.
        """
        if not self._sharing_checked:
            self._sharing_checked = True
            reason = _why_not_exact(self)
            if reason:
                logger.warning("prefix sharing is off: %s", reason)
                self.options = Options.best(self.body.device, self.options.max_tokens_per_pass, share_prefixes=False)
        return self.options.share_prefixes


def _layers(body: PreTrainedModel) -> nn.ModuleList:
    """The backbone's layers, under whatever name its family has for them."""
    count = body.config.get_text_config().num_hidden_layers
    return next(m for m in body.modules() if isinstance(m, nn.ModuleList) and len(m) == count)


def _fork(kept: object) -> object:
    """A cache that grows by itself: the tensors are shared, and growing replaces them."""
    forked = copy.copy(kept)
    forked.layers = [copy.copy(layer) for layer in kept.layers]  # type: ignore[attr-defined]
    return forked


def _why_not_exact(engine: Engine) -> str:
    """What keeps a model from sharing text; empty where nothing does."""
    body = engine.body
    config = body.config.get_text_config()
    if not tree.kinds_of(config) <= {tree.FULL, tree.SLIDING}:
        return f"layers of {type(body).__name__} attend in ways that dhrd does not know"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"attention by {config._attn_implementation} takes no masks; load the model with sdpa"
    vocabulary = min(config.vocab_size, 97)
    common = [(7 * i) % vocabulary for i in range(24)]
    rows = [common + [(11 * i + row) % vocabulary for i in range(4 + row)] for row in range(3)]
    pack = Pack((0, 1, 2), (0, 24, 24), 24 + 4 + 5 + 6)
    after = Group((Pack((0, 1, 2), (24, 24, 24), 4 + 5 + 6),), 24)
    plans = [apart([len(row) for row in rows]), [Group((pack,))], [after]]
    before = copy.copy(engine.work)
    with torch.inference_mode():
        try:
            pooled = [_in_order(engine._passes(plan, rows)) for plan in plans]
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            return f"{type(body).__name__} does not take it ({str(error).splitlines()[0]})"
    engine.work = before
    tolerance = 1e-4 if body.dtype == torch.float32 else 5e-2
    worst = max(float((one - pooled[0]).abs().max()) for one in pooled[1:]) / float(pooled[0].abs().max())
    return f"{type(body).__name__} gives other hidden states with it (by {worst:.1g})" if worst > tolerance else ""


def _in_order(passes: Iterator[tuple[list[int], Tensor]]) -> Tensor:
    found = sorted(((row, vector) for rows, pooled in passes for row, vector in zip(rows, pooled, strict=True)),
                   key=lambda pair: pair[0])  # fmt: skip
    return torch.stack([vector for _, vector in found]).float()
