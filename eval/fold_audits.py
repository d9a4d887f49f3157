"""What the trainings of each fold had already heard, as the audits of their rows say."""

from collections.abc import Iterable, Mapping


def known_by_fold(audits: Iterable[tuple[str, Mapping | None]], key: str) -> dict[str, int | None]:
    """Return the number `key` of each fold, of whichever training knew most; None where training data is not given.

    Args:
        audits: of each training, the fold and the row's audit.
        key: of the audit, such as `num_shared_groups`.
    """
    folds: dict[str, int | None] = {}
    for fold, audit in audits:
        if audit is None or folds.get(fold, 0) is None:
            folds[fold] = None
        else:
            folds[fold] = max(folds.get(fold, 0), audit[key])
    return folds
