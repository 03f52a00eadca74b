"""What a run will do, in lines for a person, before its first update."""

from __future__ import annotations

from collections.abc import Iterator

from dhrd._device import describe_device
from dhrd._text import shown
from dhrd.data.label_names import spelled
from dhrd.data.label_sets import count_rows
from dhrd.data.label_space import of_task
from dhrd.training.build import Parts

_MANY_CUT = 0.1  # of the rationales: more than the few that are longer than most


def announced(parts: Parts) -> Iterator[str]:
    """The labels with their rows, tokens and updates, the device, its precision, what is trained and what is lost."""
    rows, data, training = parts.rows, parts.data, parts.config.training
    for task in rows.labels.slices:
        labels = count_rows(of_task(rows.train, task.name, task.columns)).most_common()
        of = f" of {task.name}" if task.name else ""
        yield f"labels{of}: {spelled(f'{shown(name, 40)} {count:,}' for name, count in labels)}"
    num_tokens = sum(len(one.input_ids) + len(one.continuation_ids) for one in data.train.examples)
    each = parts.updates.updates_per_epoch
    yield (
        f"updates: {each * training.num_epochs:,} ({training.num_epochs} epochs of {each:,}); {num_tokens:,} tokens an "
        f"epoch, {data.train.longest:,} in the longest row"
    )
    weights = [(weight.numel(), weight.requires_grad) for weight in parts.model.parameters()]
    trained, total = sum(count for count, is_trained in weights if is_trained), sum(count for count, _ in weights)
    precision, num_processes = parts.accelerator.mixed_precision, parts.accelerator.num_processes
    processes = f", {num_processes} processes" if num_processes > 1 else ""
    yield (
        f"on {describe_device(parts.accelerator.device)}{processes}, {'float32' if precision == 'no' else precision}; "
        f"{trained:,} of {total:,} weights are trained"
    )
    yield from _of_rationales(parts)


def _of_rationales(parts: Parts) -> Iterator[str]:
    """What becomes of rationales that are not learned, or not to their end."""
    losses, data = parts.config.loss, parts.data.train
    num_given = sum(bool(example.rationale) for example in parts.rows.train)
    if num_given and not losses.reads_rationales:
        yield (
            f"rationales: {num_given:,} rows have one, and no loss reads it: the pooled baseline is trained "
            "(loss.reasoning_weight is 0, or loss.lm_targets is input)"
        )
    if data.num_rationales_cut > _MANY_CUT * data.num_with_rationale:
        limit = f"data.max_sequence_tokens={parts.config.data.max_sequence_tokens}"
        cut = f"{data.num_rationales_cut:,} of {data.num_with_rationale:,}"
        yield f"rationales: {cut} are cut to {limit}: raise it (`dhrd init` with the rationales proposes how far)"
