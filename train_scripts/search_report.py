"""What came of a search: `search.json`, `search.md`, a figure, and the best recipe ready to be trained."""

import json
import math
import shlex
from dataclasses import asdict

import matplotlib.figure
import optuna
import yaml
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from optuna.trial import TrialState

from antiphon.eval.figures import COLORS, figure_style, save_figure
from antiphon.eval.result_formats import markdown_table

from .run_folder import write_json, write_text
from .search_study import Search
from .validation_only import WARNING

PANELS_PER_ROW = 3
PANEL_SIZE = (4.0, 3.2)
# Marker, colour and opacity of a trial; none is told by its colour alone.
STYLES = {
    "complete": ("o", COLORS["blue"], 0.8),
    "pruned": ("x", COLORS["orange"], 0.6),
    "best": ("*", COLORS["green"], 1.0),
}
BEST_RECIPE = "best_recipe.yaml"


def write_report(search: Search, study: optuna.Study) -> str:
    """Writes the report of a search into its folder.

    Returns:
        The report as Markdown.
    """
    trials = [_describe_trial(search, trial) for trial in study.trials]
    finished = [trial for trial in trials if trial["state"] == "complete"]
    sign = 1 if search.direction == "minimize" else -1
    best = min(finished, key=lambda trial: sign * trial["value"], default=None)
    summary = {
        "search": {name: value for name, value in asdict(search).items() if name != "folder"},
        "warning": WARNING,
        "optuna": optuna.__version__,
        "validation_sha256": study.user_attrs.get("validation_sha256"),
        "best": best,
        "trials": trials,
    }
    write_json(search.folder / "search.json", summary)
    if best is not None:
        write_text(search.folder / BEST_RECIPE, _best_recipe(search, best))
        draw_search(search, trials, best)
    order = sorted(finished, key=lambda trial: sign * trial["value"])
    text = _markdown(search, [*order, *(trial for trial in trials if trial not in finished)], best)
    write_text(search.folder / "search.md", text)
    return text


def _describe_trial(search: Search, trial: optuna.trial.FrozenTrial) -> dict:
    folder = search.trial_folder(trial.number)
    return {
        "number": trial.number,
        "state": {"fail": "failed"}.get(trial.state.name.lower(), trial.state.name.lower()),
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "values": search.values(trial),
        "evaluations": {
            step: value if math.isfinite(value) else None for step, value in trial.intermediate_values.items()
        },
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "error": trial.user_attrs.get("error"),
        "folder": str(folder.relative_to(search.folder)),
        "log": str((folder / "log.txt").relative_to(search.folder)),
    }


def _best_recipe(search: Search, best: dict) -> str:
    recipe = yaml.safe_dump(search.unresolved_recipe(best["values"]), sort_keys=False, allow_unicode=True)
    return (
        f"# Trial {best['number']} of the search {search.name}: {search.metric} {best['value']:.6g} on the validation "
        f"items.\n# {WARNING}\n{recipe}"
    )


def _markdown(search: Search, trials: list[dict], best: dict | None) -> str:
    parts = [f"# Search {search.name}", " ".join(search.goal.split()), f"**{WARNING}**"]
    if best is None:
        parts.append("No trial has come to its end.")
    else:
        values = yaml.safe_dump(best["values"], sort_keys=False, allow_unicode=True)
        recipe = shlex.quote(str(search.folder / BEST_RECIPE))
        parts += [
            f"Best of {len(trials)} trials: trial {best['number']}, {search.metric} {best['value']:.4g} on the "
            "validation items, with",
            f"```yaml\n{values}```",
            f"as `{BEST_RECIPE}`:",
            f"```\npython train_scripts/train_conformer.py {recipe} run.folder=FOLDER\n```",
            f"![{search.metric} of every trial by evaluation, and its last one by the value of each key](search.svg)",
        ]
    headings = ["trial", "state", search.metric, "evaluations", "seconds", *(f"`{key}`" for key in search.space)]
    parts.append(markdown_table(headings, [_line(search, trial) for trial in trials]))
    parts += [f"- trial {trial['number']} failed: {trial['error']}" for trial in trials if trial["error"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(search: Search, trial: dict) -> list[str]:
    value = "–" if trial["value"] is None else f"{trial['value']:.4g}"
    seconds = "–" if trial["seconds"] is None else f"{trial['seconds']:.0f}"
    values = [_text(trial["values"].get(key)) for key in search.space]
    return [str(trial["number"]), trial["state"], value, str(len(trial["evaluations"])), seconds, *values]


def _text(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def draw_search(search: Search, trials: list[dict], best: dict) -> None:
    """Draws the evaluations of every trial, and its last one against the value of each key."""
    names = list(search.space)
    num_rows = math.ceil((1 + len(names)) / PANELS_PER_ROW)
    num_columns = min(1 + len(names), PANELS_PER_ROW)
    with figure_style():
        figure = matplotlib.figure.Figure(figsize=(PANEL_SIZE[0] * num_columns, PANEL_SIZE[1] * num_rows))
        curves, *slices = figure.subplots(num_rows, num_columns, squeeze=False).flat
        curves.set(xlabel="evaluation", ylabel=f"{search.metric} on validation items")
        curves.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes, name in zip(slices, names):
            _label_values(axes, name, search.space[name])
        for trial in trials:
            evaluations = {step: value for step, value in trial["evaluations"].items() if value is not None}
            kind = "best" if trial is best else trial["state"]
            if kind not in STYLES or not evaluations:
                continue
            marker, color, alpha = STYLES[kind]
            style = {"color": color, "alpha": alpha, "marker": marker, "zorder": 3 if kind == "best" else 2}
            curves.plot(list(evaluations), list(evaluations.values()), markevery=[-1], label=kind, **style)
            value = trial["value"] if trial["value"] is not None else list(evaluations.values())[-1]
            for axes, name in zip(slices, names):
                axes.plot(_position(search.space[name], trial["values"][name]), value, linestyle="none", **style)
        for axes in slices[len(names) :]:
            axes.remove()
        handles = dict(zip(*reversed(curves.get_legend_handles_labels())))
        curves.legend(handles.values(), handles)
        save_figure(figure, search.folder / "search")


def _label_values(axes, name: str, entry: dict) -> None:
    axes.set(xlabel=name)
    if "choices" in entry:
        axes.set_xticks(range(len(entry["choices"])), [_text(choice)[:16] for choice in entry["choices"]])
        axes.margins(x=0.2)
    elif entry.get("log"):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=bool(entry.get("int"))))


def _position(entry: dict, value) -> float:
    return entry["choices"].index(value) if "choices" in entry else value
