"""Figures of what was measured to understand an assessment: maps, sanity, importance, probes, errors, adaptation."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from antiphon.eval.attribution_sanity import MAPS
from antiphon.eval.few_shot import METHODS, UNADAPTED
from antiphon.eval.figures import INK, figure_style
from antiphon.processing.percepts import PERCEPTS

METRIC_WORDS = {"r2": "R2", "ranking_accuracy": "ranking accuracy", "coverage": "coverage of 90 % intervals"}


def percept_words(percept: str) -> str:
    """The name of a percept as one reads it."""
    return percept.replace("_", " ")


def draw_maps(views: Mapping[str, Mapping], percept: str, frame_rate: float) -> Figure:
    """Draw a performance and its maps, a column for each lattice.

    Args:
        views: By lattice: `levels` (frames, bins), `rollout` and `occlusion` (`PatchMap`), `gradients` (`Attribution`).
        percept: That gradients and occlusion are of.
        frame_rate: Frames per second.
    """
    titles = {
        "levels": None,
        "rollout": "attention rollout",
        "gradients": "integrated gradients",
        "occlusion": "occlusion",
    }
    with figure_style():
        figure = Figure(figsize=(5.0 * len(views), 7.2), layout="constrained")
        panels = figure.subplots(len(titles), len(views), squeeze=False)
        for column, (lattice, view) in zip(panels.T, views.items()):
            levels, name = view["levels"], {"audio": "recording", "roll": "piano roll"}[lattice]
            extent = (0, len(levels) / frame_rate, 0, levels.shape[1] / 12)
            for axes, (kind, title) in zip(column, titles.items()):
                values = levels if kind == "levels" else view[kind].map
                signed = kind in ("gradients", "occlusion")
                # A few points would otherwise outshine all others.
                reach = np.quantile(np.abs(values), 0.995) or 1.0
                end = (
                    extent
                    if kind in ("levels", "gradients")
                    else (0, view[kind].frame_edges[-1] / frame_rate, *extent[2:])
                )
                image = axes.imshow(
                    values.T, origin="lower", aspect="auto", extent=end, interpolation="nearest",
                    cmap="RdBu_r" if signed else "magma", **({"vmin": -reach, "vmax": reach} if signed else {}),
                )  # fmt: skip
                axes.set(title=f"{name}: {title}" if title else name, ylabel="octave")
                figure.colorbar(image, ax=axes, pad=0.01)
            column[-1].set_xlabel("time after the first sound (s)")
        figure.suptitle(f"What counts for “{percept_words(percept)}”", color=INK)
    return figure


def draw_sanity(checks: Mapping[str, Mapping]) -> Figure:
    """Draw rank correlations with the trained model's maps, as part after part is shuffled, a panel a lattice."""
    with figure_style():
        figure = Figure(figsize=(4.6 * len(checks), 3.4), layout="constrained")
        for axes, (lattice, kinds) in zip(_row(figure, len(checks)), checks.items()):
            for kind, parts in kinds.items():
                _draw_interval_line(axes, list(parts), list(parts.values()), MAPS[kind])
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set(title=f"{lattice} lattice", ylim=(-0.5, 1.05), xlabel="shuffled down to")
            axes.tick_params(axis="x", rotation=40)
        figure.axes[0].set_ylabel("rank correlation with\nthe trained model's map")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize="small")
    return figure


def draw_importance(importance: Mapping[str, Mapping]) -> Figure:
    """Draw the drop of R2 of each source, and of each percept in colour."""
    names = [(kind, name) for kind, sources in importance.items() for name in sources]
    drops = [importance[kind][name]["drop"] for kind, name in names]
    cells = np.array([[importance[kind][name]["percepts"][p]["value"] for p in PERCEPTS] for kind, name in names])
    with figure_style():
        figure = Figure(figsize=(10, 0.32 * len(names) + 2.9), layout="constrained")
        bars, heat = figure.subplots(1, 2, width_ratios=(1, 1.5), sharey=True)
        colors = ["C0" if kind == "source" else "C1" for kind, _ in names]
        for place, (drop, color) in enumerate(zip(drops, colors)):
            bars.errorbar(drop["value"], place, xerr=_errors([drop]), fmt="o", color=color, capsize=2)
        bars.axvline(0, color=INK, linewidth=0.8)
        bars.set_yticks(range(len(names)), [name for _, name in names])
        bars.invert_yaxis()
        bars.set(title="mean of all percepts", xlabel="drop of R2 when exchanged")
        reach = np.abs(cells).max() or 1.0
        image = heat.imshow(cells, aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
        heat.set_xticks(range(len(PERCEPTS)), map(percept_words, PERCEPTS), rotation=60, ha="right", fontsize="small")
        heat.set(title="each percept")
        figure.colorbar(image, ax=heat, pad=0.01, label="drop of R2")
    return figure


def draw_probes(probes: Mapping[str, Mapping]) -> Figure:
    """Draw R2 of the probes by layer, trained against random weights, a row a lattice, a column a target."""
    targets = list(next(iter(probes.values())))
    with figure_style():
        figure = Figure(figsize=(2.3 * len(targets), 2.4 * len(probes) + 0.3), layout="constrained")
        panels = figure.subplots(len(probes), len(targets), squeeze=False, sharex=True, sharey=True)
        for row, (lattice, by_target) in zip(panels, probes.items()):
            for axes, (target, entry) in zip(row, by_target.items()):
                layers = entry["layers"]
                names = [name.removeprefix("layer ") for name in layers]
                _draw_interval_line(axes, names, [layer["r2"] for layer in layers.values()], "trained")
                _draw_interval_line(axes, names, [layer["random_r2"] for layer in layers.values()], "random", "--")
                axes.axhline(0, color=INK, linewidth=0.8)
                axes.set(title=target if lattice == next(iter(probes)) else None, ylim=(-0.35, 1.02))
                axes.tick_params(axis="x", rotation=40)
            row[0].set_ylabel(f"{lattice} lattice\nR2 of the probe")
        panels[-1][0].set_xlabel("layer")
        panels[0][-1].legend(fontsize="small")
    return figure


def draw_errors(errors: Mapping[str, Mapping]) -> Figure:
    """Draw R2 of each percept against its ceiling, and squared errors by work, disagreement and number of notes."""
    with figure_style():
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        grid = figure.add_gridspec(3, 2, width_ratios=(1.25, 1))
        axes, percepts = figure.add_subplot(grid[:, 0]), errors["percepts"]
        order = sorted(percepts, key=lambda percept: percepts[percept]["r2"]["value"])
        fits = [percepts[percept]["r2"] for percept in order]
        axes.errorbar(
            [fit["value"] for fit in fits], range(len(order)), xerr=_errors(fits), fmt="o", capsize=2, label="R2"
        )
        ceilings = [percepts[percept]["ceiling"]["value"] for percept in order]
        axes.plot(ceilings, range(len(order)), "|", color="C3", markersize=9, label="ceiling by label noise")
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(order)), map(percept_words, order))
        axes.set(title="percepts", xlabel="R2")
        axes.legend(loc="upper left", fontsize="small")
        titles = {"works": "works", "deviations": "annotators' deviation", "notes": "number of notes"}
        for row, (key, title) in enumerate(titles.items()):
            _draw_parts(figure.add_subplot(grid[row, 1]), errors[key], title)
        figure.axes[-1].set_xlabel("mean squared error")
    return figure


def draw_few_shot(curves: Mapping[str, Mapping]) -> Figure:
    """Draw squared error by number of examples, a panel for the raters and each instrument."""
    with figure_style():
        figure = Figure(figsize=(3.6 * len(curves), 3.2), layout="constrained")
        for axes, (title, sizes) in zip(_row(figure, len(curves), sharey=False), curves.items()):
            known = {size: entry for size, entry in sizes.items() if entry["num_tasks"]}
            for index, name in enumerate((UNADAPTED, *METHODS)):
                values = [entry["methods"][name]["squared_error"] for entry in known.values()]
                places = np.arange(len(known)) + 0.08 * (index - 1.5)
                style = {"fmt": ("o", "s", "^", "D")[index] + "-", "capsize": 2, "label": name}
                axes.errorbar(places, [value["value"] for value in values], yerr=_errors(values), **style)
            axes.set_xticks(range(len(known)), list(known))
            axes.set(title=title, xlabel="examples", ylim=(0, None))
        figure.axes[0].set_ylabel("mean squared error")
        figure.axes[-1].legend(fontsize="small")
    return figure


def draw_domains(shifts: Mapping[str, Mapping]) -> Figure:
    """Draw each metric on every other rendering, beside that of the same performances as known from training."""
    inputs = list(next(iter(shifts.values()))["inputs"])
    with figure_style():
        figure = Figure(figsize=(10, 0.62 * len(shifts) * len(inputs) + 1.2), layout="constrained")
        rows = [(domain, name) for domain in shifts for name in inputs]
        for axes, (metric, words) in zip(_row(figure, len(METRIC_WORDS)), METRIC_WORDS.items()):
            for offset, (key, label) in enumerate(
                {"reference": "as in training", "shifted": "other rendering"}.items()
            ):
                entries = [shifts[domain]["inputs"][name].get(metric, {}).get(key) for domain, name in rows]
                known = [(place, entry) for place, entry in enumerate(entries) if entry]
                if known:
                    values = [entry for _, entry in known]
                    places = [place + 0.2 * offset - 0.1 for place, _ in known]
                    style = {"fmt": "os"[offset], "capsize": 2, "label": label}
                    axes.errorbar([value["value"] for value in values], places, xerr=_errors(values), **style)
            axes.set_yticks(range(len(rows)), [f"{domain}, {name}" for domain, name in rows])
            axes.set(title=words)
        figure.axes[0].invert_yaxis()
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small"
        )
    return figure


def _row(figure: Figure, number: int, sharey: bool = True) -> Sequence[Axes]:
    return figure.subplots(1, number, squeeze=False, sharey=sharey)[0]


def _errors(values: Sequence[Mapping[str, float]]) -> np.ndarray:
    """(2, values) distances to the ends of intervals; 0 where there is none."""
    ends = [[value["value"] - value["low"], value["high"] - value["value"]] for value in values]
    return np.nan_to_num(np.maximum(np.array(ends, dtype=float).reshape(-1, 2).T, 0.0))


def _draw_interval_line(
    axes: Axes, names: Sequence[str], values: Sequence[Mapping], label: str, line: str = "-"
) -> None:
    middle = np.array([value["value"] for value in values])
    low, high = _errors(values)
    (drawn,) = axes.plot(range(len(names)), middle, line, marker="o", markersize=3, label=label)
    axes.fill_between(range(len(names)), middle - low, middle + high, color=drawn.get_color(), alpha=0.15, linewidth=0)
    axes.set_xticks(range(len(names)), names)


def _draw_parts(axes: Axes, parts: Mapping[str, Mapping], title: str) -> None:
    values = [part["squared_error"] for part in parts.values()]
    axes.errorbar([value["value"] for value in values], range(len(parts)), xerr=_errors(values), fmt="o", capsize=2)
    axes.plot([part["label_noise"] for part in parts.values()], range(len(parts)), "|", color="C3", markersize=9)
    axes.set_yticks(range(len(parts)), [f"{name} (n {part['n']})" for name, part in parts.items()])
    axes.set(title=title, xlim=(0, None), ylim=(-0.6, len(parts) - 0.4))
    axes.invert_yaxis()
