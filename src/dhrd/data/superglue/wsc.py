"""WSC (Levesque et al., 2012): does the marked pronoun refer to the noun phrase?"""

from __future__ import annotations

from collections.abc import Iterator

from dhrd.data.superglue.task import Record, Task


def _rows(record: Record, split: str) -> Iterator[dict[str, object]]:
    target = record.get("target", record)  # the hub has the spans beside the text, the official files below `target`
    yield {
        **{name: target[name] for name in ("span1_text", "span2_text", "span1_index", "span2_index")},
        **({"label": record["label"]} if "label" in record else {}),
        "text": _mark(record["text"], target["span2_text"], target["span2_index"]),
        "id": f"wsc-{split}-{record['idx']}",
    }


def _mark(text: str, pronoun: str, index: int) -> str:
    """Put the pronoun between asterisks: the same word often stands in the text several times."""
    words = text.split(" ")
    first = pronoun.split(" ")[0]
    if index < len(words) and words[index].lower().startswith(first.lower()):
        end = index + len(pronoun.split(" ")) - 1
        words[index] = "*" + words[index]
        words[end] += "*"
    return " ".join(words)


TASK = Task(
    name="wsc",
    folder="WSC",
    template='Text: {{ text }}\nDoes "*{{ span2_text }}*" refer to "{{ span1_text }}"?',
    labels=("false", "true"),
    words=("no", "yes"),
    leaks=(r"(?:refer|refers|referring|refer(?:s|red)? back|corefer\w*) to", r"antecedent"),
    rows=_rows,
)
