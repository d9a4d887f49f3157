"""What was measured, for a report: metrics and baselines, values per group, comparisons and their verdicts."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from antiphon.eval.baselines import NO_INPUT, strongest_baseline
from antiphon.eval.conditions import condition_differences
from antiphon.eval.report_blocks import Bullets, Details, Figure, Paragraph, Section, Table
from antiphon.eval.report_percepts import percept_blocks
from antiphon.eval.report_source import ReportSource
from antiphon.eval.result_formats import format_difference, format_interval, format_number
from antiphon.eval.results_table import listed_groups
from antiphon.eval.statistics import MIN_GROUPS_FOR_POPULATION

MAX_GROUPS_SHOWN = 20
SIZES = ("items", "speakers", "passages", "excerpts", "works", "players")


def primary_metric(row: Mapping) -> str:
    """Return the metric that decides."""
    return row.get("primary_metric") or next(iter(row["metrics"]))


def system_name(source: ReportSource, row: Mapping) -> str:
    """Return what a row measured: the variant of a study, or the run."""
    return row.get("system") or source.name


def comparable_rows(rows: Mapping[str, dict]) -> list[dict[str, dict]]:
    """Gather rows that were measured on the same benchmark under the same conditions; each may share a table."""
    gathered: list[dict[str, dict]] = []
    for name, row in rows.items():
        for others in gathered:
            first = next(iter(others.values()))
            if first["benchmark"] == row["benchmark"] and not condition_differences(first, row):
                others[name] = row
                break
        else:
            gathered.append({name: row})
    return gathered


def summary(source: ReportSource) -> list[str]:
    """Say what was found in a few sentences: the verdicts of a study, else the figures of the run."""
    if source.comparisons:
        return [
            f"{_comparison_name(comparison)}: {comparison['sentence']}; "
            f"difference {format_difference(_without_p(comparison), comparison.get('unit'))}."
            for comparison in source.comparisons
        ]
    lines = []
    for row in source.rows.values():
        metric = primary_metric(row)
        lines.append(f"{row['benchmark']}: {metric} {format_interval(row['metrics'][metric])}.")
    return lines


def results_blocks(source: ReportSource) -> list[Section]:
    """One section for each set of conditions: rows under different conditions never share a table."""
    sections, firsts = [], {}
    for rows in comparable_rows(source.rows):
        row = next(iter(rows.values()))
        first = firsts.setdefault(row["benchmark"], row)
        others = ", ".join(condition_differences(first, row))
        title = row["benchmark"] + (f", measured with other {others}" if others else "")
        sections.append(Section(title, _benchmark_blocks({system_name(source, row): row for row in rows.values()})))
    return sections


def _benchmark_blocks(rows: Mapping[str, dict]) -> list:
    row = next(iter(rows.values()))
    dataset, conditions = row["dataset"], row["conditions"]
    size = {name: dataset.get(f"num_{name}") for name in SIZES} | {"hours": dataset.get("hours")}
    extent = ", ".join(
        f"{count:,.3g} {unit}" if unit == "hours" else f"{count:,} {unit}"
        for unit, count in size.items()
        if count is not None
    )
    resampled = conditions.get("group_by", "item_id").removesuffix("_id")
    retrained = any(len(row.get("seeds") or []) > 1 for row in rows.values())
    introduction = (
        f"Measured on {dataset['name']}, {dataset['split']} ({extent}), licence {dataset.get('license') or 'unknown'}. "
        f"In parentheses: 95 % confidence intervals, which resample each {resampled} as a whole"
        f"{' and are widened for training anew' if retrained else ''}."
    )
    claims = dict.fromkeys(
        f"{name}: {claim}" if len(rows) > 1 else claim for name, row in rows.items() for claim in row["claims"]
    )
    return [
        Paragraph(introduction),
        _metric_table(rows),
        *_baseline_descriptions(rows),
        *([Bullets(list(claims))] if claims else []),
        *percept_blocks(rows),
        *(block for key, noun in listed_groups(row).items() for block in _group_blocks(rows, key, noun)),
        Details("Conditions", [_conditions_table(rows)]),
    ]


def _metric_table(rows: Mapping[str, dict]) -> Table:
    row = next(iter(rows.values()))
    metrics, primary = row["metrics"], primary_metric(row)
    directions = {True: "higher is better", False: "lower is better"}
    headings = [f"{name} ({directions[bool(entry.get('higher_is_better'))]})" for name, entry in metrics.items()]
    headings = ["system", *headings, f"{primary} minus best baseline", "trainings", "real-time factor"]
    lines = []
    for name, row in rows.items():
        trainings = str(len(row.get("seeds") or []) or "–")
        factor = format_number((row.get("speed") or {}).get("real_time_factor"))
        lines.append([name, *_figures(row, metrics), _against_baseline(row, primary), trainings, factor])
    lines += [[*line, "", "", ""] for line in _baseline_lines(rows, metrics)]
    return Table(f"{row['benchmark']}: metrics, and what the baselines reach", headings, lines)


def _figures(result: Mapping, metrics: Iterable[str]) -> list[str]:
    return [format_interval(result["metrics"].get(metric)) for metric in metrics]


def _baseline_lines(rows: Mapping[str, dict], metrics: Iterable[str]) -> list[list[str]]:
    """Each baseline once; those of systems that learned from other data may differ, and the line says whose it is."""
    systems: dict[tuple[str, ...], list[str]] = {}
    for name, row in rows.items():
        for key, baseline in row["baselines"].items():
            # A study has a baseline too, of another sort.
            label = f"{baseline.get('kind', NO_INPUT).replace('_', '-')} baseline: {key.replace('_', ' ')}"
            systems.setdefault((label, *_figures(baseline, metrics)), []).append(name)
    return [
        [label + ("" if len(names) == len(rows) else f" (of {', '.join(names)})"), *figures]
        for (label, *figures), names in systems.items()
    ]


def _baseline_descriptions(rows: Mapping[str, dict]) -> list[Paragraph]:
    descriptions = dict.fromkeys(
        f"The baseline {name.replace('_', ' ')} {baseline['description']}."
        for row in rows.values()
        for name, baseline in row["baselines"].items()
        if baseline.get("description")
    )
    return [Paragraph(" ".join(descriptions))] if descriptions else []


def _against_baseline(row: Mapping, metric: str) -> str:
    name = strongest_baseline(row)
    if name is None:
        return "no baseline"
    baseline = row["baselines"][name]
    verdict = {True: "; beaten", False: "; NOT BEATEN"}.get(baseline.get("beaten"), "; cannot tell")
    difference = (baseline.get("difference") or {}).get(metric)
    return format_difference(difference, row["metrics"][metric].get("unit")) + verdict


def _group_blocks(rows: Mapping[str, dict], key: str, noun: str) -> list:
    """The deciding metric for every group; few groups are shown at once, as they allow no claim about others."""
    row = next(iter(rows.values()))
    metric = primary_metric(row)
    entry, groups = row["metrics"][metric], row.get(key) or {}
    if len(groups) < 2:
        return []
    group_name = row["conditions"].get("group_by", noun).removesuffix("_id") if noun == "group" else noun
    values = {group: [other.get(key, {}).get(group, {}).get(metric) for other in rows.values()] for group in groups}
    ordered = sorted(values, key=_badness(values, bool(entry.get("higher_is_better"))))
    caption = f"{metric} of each {group_name}, worst first"
    if len(ordered) > MAX_GROUPS_SHOWN:
        caption += f": {MAX_GROUPS_SHOWN} of {len(ordered)}, the others are in the result files"
    lines = [
        [group, *(format_number(value, entry.get("unit")) for value in values[group]), str(groups[group].get("n", "–"))]
        for group in ordered[:MAX_GROUPS_SHOWN]
    ]
    table = Table(caption, [group_name, *rows, "items"], lines)
    return [table] if len(groups) < MIN_GROUPS_FOR_POPULATION else [Details(f"Each {group_name}", [table])]


def _badness(values: Mapping[str, Sequence], higher_is_better: bool) -> Callable[[str], tuple]:
    """Order groups by what the first system that has a value makes of them; those without any come last."""
    sign = 1 if higher_is_better else -1

    def key(group: str) -> tuple:
        known = [value for value in values[group] if value is not None]
        return (not known, sign * known[0] if known else 0, group)

    return key


def _conditions_table(rows: Mapping[str, dict]) -> Table:
    # The audit has a table of its own, and checkpoints differ between systems by nature.
    names = dict.fromkeys(name for row in rows.values() for name in row["conditions"] if name != "audit")
    lines = [
        [
            name.replace("_", " "),
            "; ".join(dict.fromkeys(one_line(row["conditions"].get(name)) for row in rows.values())),
        ]
        for name in names
    ]
    return Table("Conditions of these numbers", ["condition", "value"], lines)


def ablation_blocks(source: ReportSource, figures: Sequence[Figure]) -> list:
    """The verdict on every comparison, the figures per group, and every warning."""
    if not source.comparisons:
        return [Paragraph("Nothing was compared: there is no comparisons.json.")]
    lines = [
        [
            _comparison_name(comparison),
            format_difference(_without_p(comparison), comparison.get("unit")),
            _relative(comparison.get("relative_change")),
            _p_value(comparison),
            comparison["sentence"],
            format_number((comparison.get("effect_size") or {}).get("value")),
            f"{comparison.get('num_groups', '–')} by {_names(comparison.get('group_by'))}",
            " and ".join(str(number) for number in (comparison.get("num_seeds") or {}).values()) or "–",
        ]
        for comparison in source.comparisons
    ]
    headings = ["comparison", "difference", "relative", "p", "verdict", "effect size", "groups", "trainings of each"]
    notes = dict.fromkeys(note for comparison in source.comparisons for note in _notes(comparison))
    explanation = Paragraph(_explanation(source.comparisons))
    return [explanation, Table("Verdicts", headings, lines), *figures, *([Bullets(list(notes))] if notes else [])]


def _explanation(comparisons: Sequence[Mapping]) -> str:
    family = max(comparison.get("family", 1) for comparison in comparisons)
    effects = dict.fromkeys((comparison.get("effect_size") or {}).get("name") for comparison in comparisons)
    return " ".join(
        [
            "Each difference is paired item by item; in parentheses its 95 % confidence interval.",
            *([f"p is corrected (Holm) for the {family} comparisons made."] if family > 1 else []),
            *(f"The effect size is the {name}." for name in effects if name),
            "No claim rests on the order of the numbers alone: the verdict says what the interval and the test allow.",
        ]
    )


def _comparison_name(comparison: Mapping) -> str:
    measured = f"{comparison['metric']} of {comparison['benchmark']}"
    return f"{comparison['system']} against {comparison['reference']}, {measured}"


def _without_p(comparison: Mapping) -> dict:
    return {key: comparison.get(key) for key in ("value", "low", "high")}


def _p_value(comparison: Mapping) -> str:
    p_value = comparison.get("holm_p_value", comparison.get("p_value"))
    if p_value is None:
        return "–"
    text = "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"
    smallest = comparison.get("smallest_p_value")
    return f"{text} (cannot be below {smallest:.4f})" if smallest and smallest > 1e-3 else text


def _relative(change: float | None) -> str:
    return "–" if change is None else f"{100 * change:+.1f} %"


def _names(columns: Iterable[str] | None) -> str:
    return " and ".join(column.removesuffix("_id") for column in columns or ["item"])


def _notes(comparison: Mapping) -> Iterable[str]:
    name = _comparison_name(comparison)
    for warning in comparison.get("warnings") or []:
        yield f"{name}: {warning}"
    for condition, values in (comparison.get("condition_differences") or {}).items():
        yield f"{name}: measured under another condition, {condition}: {one_line(values)}"


def one_line(value) -> str:
    """A value of any JSON type on one line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {one_line(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(one_line, value)) or "none"
    return " ".join(str(value).split())
