"""Comparisons as Markdown: a table of verdicts, every group where there are few, and what to keep in mind."""

from collections.abc import Mapping, Sequence

from antiphon.eval.result_formats import format_difference, format_number, markdown_table
from antiphon.eval.statistics import MIN_GROUPS_FOR_POPULATION

HEADINGS = ("difference", "relative", "effect size", "p", "p (Holm)", "groups", "trainings", "verdict")


def comparison_table(comparisons: Sequence[Mapping]) -> str:
    """Write comparisons that `antiphon.eval.comparison.compare_systems` made as Markdown."""
    first = comparisons[0]
    heading = f"{first['metric']} {'↑' if first['higher_is_better'] else '↓'} minus {first['reference']}"
    parts = [markdown_table([heading, *HEADINGS], map(_line, comparisons))]
    few = [comparison for comparison in comparisons if comparison["num_groups"] < MIN_GROUPS_FOR_POPULATION]
    if few:
        groups = list(few[0]["groups"])
        lines = (
            [comparison["system"], *(_difference(comparison["groups"][name], comparison["unit"]) for name in groups)]
            for comparison in few
        )
        parts.append(markdown_table([f"difference by {first['group_by'][0]}", *groups], lines))
    said: dict[str, list[str]] = {}
    for comparison in comparisons:
        for warning in comparison["warnings"]:
            said.setdefault(warning, []).append(comparison["system"])
    if said:
        parts.append("\n".join(f"- {', '.join(names)}: {warning}" for warning, names in said.items()))
    return "\n\n".join(parts)


def _line(comparison: Mapping) -> list[str]:
    relative, seeds = comparison["relative_change"], comparison["num_seeds"]
    interval = {key: comparison[key] for key in ("value", "low", "high")}
    return [
        comparison["system"],
        format_difference(interval, comparison["unit"]),
        "–" if relative is None else f"{100 * relative:+.1f} %",
        format_number(comparison["effect_size"]["value"]),
        *(format_number(comparison[key]) for key in ("p_value", "holm_p_value")),
        str(comparison["num_groups"]),
        f"{seeds['system']} and {seeds['reference']}",
        comparison["sentence"],
    ]


def _difference(value: float, unit: str | None) -> str:
    return format_difference({"value": value}, unit)
