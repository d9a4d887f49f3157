"""The tasks whose item tables can be scored anew, each with the module that does it.

Such a module has: `summarize_items` (the measured part of a row), `rescore` (the table with scores that depend on all
of its items, for pooling), `recount` (every column that follows from answers and references), `baseline_names`,
`answer_problems` (of a table from elsewhere), `audit_claims`, `count_groups`; the `REQUIRED_COLUMNS` of its item
tables; `MEASURED`, the parts of a row that follow from its items; and of its conditions the `REQUIRED_CONDITIONS` and
those that runs to be pooled share, `SHARED_CONDITIONS`.
"""

from types import ModuleType

from antiphon.eval import assessment_scores, recognition_scores, voice_scores

SCORERS: dict[str, ModuleType] = {
    module.TASK: module for module in (recognition_scores, assessment_scores, voice_scores)
}


def scorer_of(task: str) -> ModuleType:
    """Return the module that scores a task.

    Raises:
        ValueError: if there is none.
    """
    if task not in SCORERS:
        raise ValueError(f"`task` is {task!r}, but only {', '.join(SCORERS)} can be scored anew; add a scorer for it.")
    return SCORERS[task]
