"""The same three rows in every form in which Python holds rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow

from dhrd.data.records import Example

TEXTS = ["the bed is hard", "keep it", "a broken lamp"]


def as_dataset(kind: str | None = None) -> Any:
    data = datasets.Dataset.from_dict({"input_text": TEXTS, "n": [1, 2, 3]})
    return data.with_format(kind) if kind else data


TABLES: dict[str, Callable[[], Any]] = {
    "DataFrame": lambda: pd.DataFrame({"input_text": TEXTS, "n": [1, 2, 3]}, index=[7, 7, 9]),
    "one column": lambda: pd.DataFrame({"input_text": TEXTS}),
    "Series": lambda: pd.Series(TEXTS),
    "dict of lists": lambda: {"input_text": TEXTS, "n": [1, 2, 3]},
    "dict of tuples": lambda: {"input_text": tuple(TEXTS)},
    "dict of arrays": lambda: {"input_text": np.array(TEXTS), "n": np.arange(3)},
    "dict of Series": lambda: {"input_text": pd.Series(TEXTS)},
    "pyarrow Table": lambda: pyarrow.table({"input_text": TEXTS, "n": [1, 2, 3]}),
    "RecordBatch": lambda: pyarrow.RecordBatch.from_pylist([{"input_text": text} for text in TEXTS]),
    "pyarrow array": lambda: pyarrow.array(TEXTS),
    "array": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, dtype=object),
    "a slice of a Dataset": lambda: as_dataset()[:3],
    "a column of a Dataset": lambda: as_dataset()["input_text"],
    "IterableDataset": lambda: as_dataset().to_iterable_dataset(),
    **{
        f"Dataset, {kind}": (lambda kind=kind: as_dataset(kind)) for kind in (None, "arrow", "numpy", "pandas", "torch")
    },
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "dicts": lambda: [{"input_text": text} for text in TEXTS],
    "Examples": lambda: [Example(input_text=text) for text in TEXTS],
}
