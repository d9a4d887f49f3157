"""A search chooses by its validation items, so it must never see the test split: who looks at test rows is refused."""

from datasets import Dataset

from antiphon.eval.selection import is_test_split

from .recipes import RecipeError
from .sources import load_sources

WARNING = (
    "The best value of a search is optimistic: it was chosen because it is the best on the validation items. "
    "Test rows are refused here; measure the best recipe once on the untouched test split, or on fresh folds."
)
REMEDY = "a search never sees them: hold validation rows out of the training split, e.g. with `where`."


def refuse_test_sources(sources: list[dict], section: str) -> None:
    """Loads the rows that a recipe names and refuses any of a test split, by their own column or by a stored split.

    Raises:
        RecipeError: naming the section and how many rows.
    """
    for source in sources:
        if is_test_split((source.get("ids") or {}).get("split")):
            raise RecipeError(f"`{section}` takes the ids of a test split; {REMEDY}")
    refuse_test_rows(load_sources(sources, section), section)


def refuse_test_rows(rows: Dataset, section: str) -> None:
    """Refuses rows whose column `split` says test.

    Raises:
        RecipeError: naming the section and how many rows.
    """
    num_rows = sum(map(is_test_split, rows["split"]))
    if num_rows:
        raise RecipeError(f"`{section}` holds {num_rows} rows of a test split; {REMEDY}")
