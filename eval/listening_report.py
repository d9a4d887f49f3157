"""The report on a listening test: sentences, tables and a figure that follow from the numbers."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.figure import Figure as Drawing

from antiphon.eval.figures import COLORS, INK, figure_style
from antiphon.eval.intervals import Interval
from antiphon.eval.report_blocks import Bullets, Details, Figure, Paragraph, Report, Section, Table
from antiphon.eval.report_figures import figure_block
from antiphon.eval.statistics import LEVEL, MIN_GROUPS_FOR_POPULATION

ALL, ATTENTIVE = "all listeners", "attentive listeners"
KIND_NAMES = {
    "mos": "mean opinion score",
    "smos": "mean similarity score",
    "ab": "preference",
    "abx": "recognition of X",
}
MAX_LISTENERS = 1000  # beyond, items are what is lacking
METHOD = (
    "Intervals (95 %) hold for other listeners and other items of the same kind: answers of one listener resemble one "
    "another, and so do those to one item, so that both are counted as wholes (two-way clustered jackknife variance, "
    "studentised bootstrap). Tests exchange two systems within whole listeners, or items; p is corrected by Holm. "
    "How often these intervals hold the truth was simulated: eval/listening_coverage.md."
)


def write_report(analysis: Mapping) -> Report:
    """Write the report.

    Args:
        analysis: as `listening_analysis.analyse` returns it.
    """
    rated = analysis["is_rated"]
    sections = []
    for name, part in analysis["parts"].items():
        blocks = [*(_rated_blocks(part) if rated else _compared_blocks(part, analysis["kind"])), _agreement(part)]
        sections.append(Section(f"With {name}", [_figure(part, name, analysis), *blocks]))
    sections += [_exclusion(analysis), _power(analysis), _listeners(analysis)]
    return Report(analysis["title"], "", list(_summary(analysis)), sections)


def _summary(analysis: Mapping) -> Iterator[str]:
    part = analysis["parts"].get(ATTENTIVE, analysis["parts"][ALL])
    yield f"{KIND_NAMES[analysis['kind']]}: {analysis['question']}"
    yield f"{part['num_answers']} answers of {part['num_listeners']} listeners to {part['num_items']} items"
    for what in ("listeners", "items"):
        if (count := part[f"num_{what}"]) < MIN_GROUPS_FOR_POPULATION:
            yield f"cannot tell about a population from {count} {what}"
    if analysis["is_rated"]:
        found = [entry for entry in part["comparisons"] if entry["p_value"] < LEVEL and _apart(entry["difference"], 0)]
        for entry in found:
            difference = entry["difference"]
            better, worse = (entry["condition"], entry["reference"])[:: 1 if difference.value > 0 else -1]
            yield f"{better} is rated higher than {worse}, by {abs(difference.value):.2f} ({_p(entry['p_value'])})"
    else:
        found = [entry for entry in part["comparisons"] if entry["p_value"] < LEVEL and _apart(entry["share"], 0.5)]
        for entry in found:
            pair = _pair_name(entry["condition"], analysis["kind"])
            yield f"{pair}: {_percent(entry['share'])}, not chance ({_p(entry['p_value'])})"
    if not found:
        yield "no difference was found; that is no proof that there is none: see what could have been detected"


def _rated_blocks(part: Mapping) -> Iterator:
    rows = [[name, _interval(mean), str(part["answers_of"][name])] for name, mean in part["means"].items()]
    yield Table("Means and their 95 % intervals", ["system", "mean", "answers"], rows)
    rows = [
        [
            f"{entry['condition']} − {entry['reference']}",
            _interval(entry["difference"], signed=True),
            _p(entry["p_value"]),
            _verdict(entry["p_value"], _apart(entry["difference"], 0)),
        ]
        for entry in part["comparisons"]
    ]
    if rows:
        yield Table("Differences", ["systems", "difference", "p (Holm)", "verdict"], rows)


def _compared_blocks(part: Mapping, kind: str) -> Iterator:
    rows = [
        [
            _pair_name(entry["condition"], kind),
            _percent(entry["share"]),
            _p(entry["p_value"]),
            _p(entry["binomial_p"]),
            _verdict(entry["p_value"], _apart(entry["share"], 0.5)),
            str(part["answers_of"][entry["condition"]]),
        ]
        for entry in part["comparisons"]
    ]
    what = "X recognised" if kind == "abx" else "first preferred"
    headings = ["systems", what, "p (Holm)", "binomial p", "verdict", "answers"]
    yield Table("Against chance (50 %)", headings, rows)
    doubt = (
        "The binomial p takes all answers as independent. Where nobody hears any difference they are, as X is "
        "random; for listeners or items that differ, only the interval and the p beside it hold."
        if kind == "abx"
        else "The binomial p takes all answers as independent, which they are not: it claims too much."
    )
    yield Paragraph(doubt)


def _agreement(part: Mapping) -> Paragraph:
    alpha = part["agreement"]
    return Paragraph(
        f"Agreement of listeners, Krippendorff's alpha: {alpha['value']:.2f} ({alpha['low']:.2f} to "
        f"{alpha['high']:.2f}, items resampled); 1 means that all agree, 0 that they agree as by chance."
    )


def _exclusion(analysis: Mapping) -> Section:
    excluded, limit = analysis["excluded"], analysis["max_failed_checks"]
    sentences = [
        f"Rule: who fails more than {limit} of the attention checks is left out of “{ATTENTIVE}”; set before the "
        "test in test.yaml, unless the command says otherwise.",
        f"{analysis['num_started']} listeners began, {analysis['num_answering']} answered at least one page, "
        f"{analysis['num_finished']} finished. Answers of those who left early count.",
        f"{len(excluded)} were left out{': ' + ', '.join(excluded) if excluded else ''}.",
    ]
    if not analysis["num_checks"]:
        sentences.append("The test had no attention checks, so that nobody could be left out.")
    return Section("Who was left out", [Bullets(sentences)])


def _power(analysis: Mapping) -> Section:
    power = analysis["power"]
    unit = "difference of two systems" if analysis["is_rated"] else "difference of a share from one half"
    rows = [[str(entry["listeners"]), str(entry["items"]), f"{entry['detectable']:.2f}"] for entry in power["grid"]]
    first = power["grid"][0]
    sentences = [
        f"With {first['listeners']} listeners × {first['items']} items, {power['answers_each']:.1f} answers of each "
        f"listener to each condition, you can detect a {unit} of {first['detectable']:.2f} (80 % power, 5 % level, one "
        "comparison, answers as variable as here).",
    ]
    for difference, needed in power["needed"].items():
        too_many = needed is None or needed > MAX_LISTENERS
        number = f"over {MAX_LISTENERS} listeners: add items" if too_many else f"about {needed} listeners"
        sentences.append(f"To detect {difference} with as many items and answers each: {number}.")
    return Section(
        "What could be detected", [Bullets(sentences), Table("Detectable", ["listeners", "items", unit], rows)]
    )


def _listeners(analysis: Mapping) -> Section:
    rows = [
        [
            name,
            *(str(entry[key]) for key in ("answers", "failed_checks")),
            *(_number(entry[key]) for key in ("mean", "standard_deviation", "correlation")),
        ]
        for name, entry in analysis["listeners"].items()
    ]
    headings = ["listener", "answers", "failed checks", "mean", "spread", "correlation with others"]
    return Section("Listeners", [Details("One by one", [Table("Listeners", headings, rows)]), Paragraph(METHOD)])


def _figure(part: Mapping, name: str, analysis: Mapping) -> Figure:
    """Means or shares with their intervals, the best at the top; strokes are listeners' own means."""
    rated = analysis["is_rated"]
    values = part["means"] if rated else {entry["condition"]: entry["share"] for entry in part["comparisons"]}
    names = sorted(values, key=lambda own: values[own].value)
    with figure_style():
        drawing = Drawing(figsize=(7.5, 0.55 * len(names) + 1.3), layout="constrained")
        axes = drawing.subplots()
        for height, own in enumerate(names):
            dots = np.array(list(part["listener_means"][own].values()))
            axes.plot(dots, np.full(len(dots), height - 0.22), "|", color=COLORS["sky"], markersize=7)
            axes.plot([values[own].low, values[own].high], [height] * 2, color=COLORS["blue"], linewidth=2.5)
            axes.plot([values[own].value], [height], "D", color=COLORS["blue"], markersize=6)
        if not rated:
            axes.axvline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        labels = names if rated else [_pair_name(own, analysis["kind"]) for own in names]
        axes.set_yticks(range(len(names)), labels)
        axes.set_ylim(-0.6, len(names) - 0.5)
        low, high = analysis["possible_range"]
        margin = 0.03 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        axes.set_xlabel(KIND_NAMES[analysis["kind"]])
        axes.tick_params(axis="y", length=0)
        caption = (
            f"{name.capitalize()}: means with 95 % intervals over listeners and items; strokes below are listeners"
        )
        alt = "; ".join(f"{own}: {_interval(values[own])}" for own in reversed(names))
        return figure_block(drawing, name.replace(" ", "_"), alt, caption)


def _pair_name(condition: str, kind: str) -> str:
    first, second = condition.split(" | ")
    return f"{first} against {second}" if kind == "abx" else f"{first} preferred to {second}"


def _verdict(p_value: float, is_apart: bool) -> str:
    return "different" if p_value < LEVEL and is_apart else "cannot tell"


def _apart(interval: Interval, value: float) -> bool:
    return interval.low > value or interval.high < value


def _interval(interval: Interval, signed: bool = False) -> str:
    form = "+.2f" if signed else ".2f"
    if math.isnan(interval.low):
        return f"{interval.value:{form}}"
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def _percent(share: Interval) -> str:
    if math.isnan(share.low):
        return f"{100 * share.value:.0f} %"
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
