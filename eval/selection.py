"""Pick the rows of a corpus that a benchmark measures or that a model was trained on."""

import re
from collections.abc import Sequence

from datasets import Dataset

ALL_SPLITS = "all"
TEST_NAMES = ("test", "eval")  # and what begins so, such as test-clean or evaluation


def where(dataset: Dataset, conditions: Sequence[str]) -> Dataset:
    """Keep the rows that meet all conditions, compared as text.

    Args:
        conditions: each `column=value` or `column!=value`; `column=a|b` means one of several values.

    Raises:
        ValueError: if a condition reads otherwise, names no column, or no row is left.
    """
    kept = range(len(dataset))
    for condition in conditions:
        match = re.fullmatch(r"(\w+?)(!?=)(.*)", condition)
        if match is None or match[1] not in dataset.column_names:
            raise ValueError(
                f"`where` is {condition!r}; expected column=value or column!=value with one of the columns "
                f"{', '.join(dataset.column_names)}."
            )
        column, equal, values = dataset[match[1]][:], match[2] == "=", match[3].split("|")
        kept = [index for index in kept if (str(column[index]) in values) == equal]
    if not kept:
        raise ValueError(f"no row is left where {' and '.join(conditions)}; look at the values of these columns.")
    return dataset.select(kept)


def select_split(dataset: Dataset, split: str, conditions: Sequence[str] = ()) -> Dataset:
    """Keep one split ("all" keeps every row) and, of it, the rows that meet the conditions."""
    return where(dataset, [*([] if split == ALL_SPLITS else [f"split={split}"]), *conditions])


def is_test_split(split: str | None) -> bool:
    """Whether the name of a split says that nothing may be learnt from it nor chosen on it."""
    return split is not None and split.lower().startswith(TEST_NAMES)


def refuse_test_rows(rows: Dataset) -> None:
    """Refuse rows whose column `split` says test, however they were selected.

    Raises:
        ValueError: saying how many.
    """
    if num_rows := sum(map(is_test_split, rows["split"])):
        raise ValueError(
            f"{num_rows} of the rows are of a test split: nothing may be learnt from them nor chosen on them; name "
            "another split, or hold rows out of the training split with a `where` condition."
        )
