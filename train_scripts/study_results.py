"""From the rows of a study's trainings to its table, its figure, its entries in the log of experiments, its report."""

import json
from pathlib import Path

from antiphon.eval.compare import write_comparisons
from antiphon.eval.comparison import compare_systems, comparison_table, load_system
from antiphon.eval.pool_runs import pool_runs
from antiphon.eval.report import write_report
from antiphon.eval.result_formats import format_difference
from antiphon.eval.result_rows import write_row

from .experiments import Experiment, record_experiment
from .recipe_diff import recipe_changes
from .study import Study, Trial


def complete_seeds(study: Study, variant: str) -> list[int]:
    """Seeds with which a variant is trained and measured on every fold."""
    return [seed for seed in study.seeds if all(study.is_done(Trial(variant, fold, seed)) for fold in study.fold_names)]


def pool_variant(study: Study, variant: str, benchmark: str) -> Path:
    """Pools all folds and seeds of a variant into one row of the study."""
    paths = [
        study.run_folder(Trial(variant, fold, seed)).results / f"{benchmark}.json"
        for seed in complete_seeds(study, variant)
        for fold in study.fold_names
    ]
    row, items = pool_runs(paths, benchmark, system=variant)
    return write_row(row, items, study.folder / "results")


def record_comparison(study: Study, comparison: dict, log: Path) -> str:
    """Writes what came of a variant into the log of experiments and returns the entry's id."""
    variant = comparison["system"]
    seeds = complete_seeds(study, variant)
    run = study.run_folder(Trial(variant, study.fold_names[0], seeds[0]))
    environment = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    corrected = {**comparison, "p_value": comparison["holm_p_value"]}
    experiment = Experiment(
        study=study.name,
        variant=variant,
        goal=study.goal,
        changes=recipe_changes(study.variant_recipe(study.baseline), study.variant_recipe(variant)),
        seeds=seeds,
        # the p-value that the verdict went by
        result=f"{comparison['metric']} {format_difference(corrected, comparison['unit'])} (Holm)",
        verdict=comparison["sentence"],
        git_commit=environment["git_commit"],
        git_changes=environment["git_changes"],
        folder=study.folder,
    )
    return record_experiment(log, experiment)


def summarize_study(study: Study, log: Path) -> str:
    """Compares every variant with the baseline and writes what came of it.

    Returns:
        The comparison as a Markdown table, and what is missing.
    """
    complete = [variant for variant in study.variants if complete_seeds(study, variant)]
    if study.baseline not in complete or len(complete) < 2:
        return f"nothing to compare yet: done with a seed on every fold are {', '.join(complete) or 'none'}"
    order = [study.baseline, *(variant for variant in complete if variant != study.baseline)]
    rows = {benchmark: [pool_variant(study, variant, benchmark) for variant in order] for benchmark in study.benchmarks}
    comparisons = compare_systems([load_system(path) for path in rows[study.benchmarks[0]]], metric=study.metric)
    write_comparisons(comparisons, study.folder)
    write_report(study.folder, peers=study.peers, prose=study.prose_file)
    for comparison in comparisons:
        record_comparison(study, comparison, log)
    missing = [variant for variant in study.variants if len(complete_seeds(study, variant)) < len(study.seeds)]
    return "\n".join([comparison_table(comparisons), *(f"{variant}: not all seeds are done" for variant in missing)])
