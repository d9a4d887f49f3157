"""The report on how a checkpoint judges, in words that follow from the numbers and tables of them."""

import math
from collections.abc import Iterator, Mapping, Sequence

from antiphon.eval.attribution_sanity import MAPS, UNCHANGED
from antiphon.eval.few_shot import METHODS, UNADAPTED
from antiphon.eval.layer_probes import best_layers
from antiphon.eval.result_formats import markdown_table
from antiphon.eval.understanding_figures import METRIC_WORDS, percept_words
from antiphon.processing.percepts import PERCEPTS

MIN_GROUPS = 10  # fewer say nothing about others
ALIKE = 0.5  # a rank correlation from which maps are called alike
NOTABLE_GAP = 0.1  # of the difference that gradients are to explain


def report(measured: Mapping, figures: Sequence[str]) -> str:
    """Write the report as Markdown.

    Args:
        measured: As `understand` gathers it.
        figures: Names of the figures that lie beside the report.
    """
    sections = {
        "maps": ("Where it listens", _maps),
        "sanity": ("Do the maps hang on what was learned?", _sanity),
        "importance": ("What it leans on", _importance),
        "probes": ("What each layer knows", _probes),
        "errors": ("Where it errs", _errors),
        "few_shot": ("A new rater, a new instrument", _few_shot),
        "domains": ("Other instruments, and a room", _domains),
    }
    parts = [
        "# How this checkpoint judges",
        f"{measured['num_items']} test performances of {measured['num_excerpts']} excerpts. Intervals (95 %) resample "
        "whole excerpts, unless said otherwise; with the training held fixed.",
    ]
    for name, (title, write) in sections.items():
        if name in figures:
            parts += [f"## {title}", *write(measured), f"![{title}]({name}.png)"]
    return "\n\n".join(parts) + "\n"


def _maps(measured: Mapping) -> Iterator[str]:
    example = measured["example"]
    yield (
        f"`{example['item_id']}`, and what counts in it for “{percept_words(measured['percept'])}”. Gradients and "
        "occlusion go through the lattice alone: descriptors stay as they are, and the trees, which read nothing else, "
        "are piecewise constant."
    )
    for lattice, entry in example["gradients"].items():
        misses = abs(entry["gap"]) > NOTABLE_GAP * abs(entry["difference"])
        verdict = "**incomplete, not to be trusted**: the model jumps along the path" if misses else "complete"
        yield (
            f"- {lattice} lattice: against silence the percept differs by {entry['difference']:+.4f}; integrated "
            f"gradients miss {entry['gap']:+.4f} of it ({verdict})."
        )


def _sanity(measured: Mapping) -> Iterator[str]:
    yield (
        "Rank correlation of maps with those of the trained model: with nothing shuffled, but twice the steps of "
        "gradients, and with all parts shuffled one after the other. What stays near 1 shows the input, not the model; "
        "what is low from the beginning is noise."
    )
    rows = []
    for lattice, kinds in measured["maps"].items():
        for kind, parts in kinds.items():
            unchanged, shuffled = parts[UNCHANGED], list(parts.values())[-1]
            verdict = _sanity_verdict(unchanged, shuffled)
            rows.append([lattice, MAPS[kind], _interval(unchanged), _interval(shuffled), verdict])
    yield markdown_table(["lattice", "map", "nothing shuffled", "all shuffled", "verdict"], rows)


def _sanity_verdict(unchanged: Mapping, shuffled: Mapping) -> str:
    if unchanged["value"] < ALIKE:
        return "noise: says nothing"
    if shuffled["low"] > ALIKE:
        return "fails: mostly the input"
    return "passes" if shuffled["high"] < ALIKE else "undecided"


def _importance(measured: Mapping) -> Iterator[str]:
    yield (
        "Drop of R2 when a source is exchanged between performances, all its numbers together. What others tell as "
        "well is not missed: a small drop is no proof of uselessness. Topics are descriptors of what is played."
    )
    rows = []
    for sources in measured["importance"].values():
        for name, entry in sorted(sources.items(), key=lambda item: -item[1]["drop"]["value"]):
            values = {percept: entry["percepts"][percept]["value"] for percept in PERCEPTS}
            most = max(values, key=values.get)
            rows.append([name, _interval(entry["drop"]), f"{percept_words(most)} ({values[most]:.3f})"])
    yield markdown_table(["source", "drop of R2", "most for"], rows)


def _probes(measured: Mapping) -> Iterator[str]:
    yield (
        "R2 of ridge regression from the pooled states of a layer, on excerpts that the probe was not fitted to, and "
        "how far it lies above that of random weights."
    )
    rows = []
    for lattice, probes in measured["probes"].items():
        for target, layer in best_layers(probes).items():
            entry = probes[target]["layers"][layer]
            gain = _interval(entry["difference"])
            rows.append([lattice, target, layer, _interval(entry["r2"]), gain, probes[target]["num_items"]])
    yield markdown_table(["lattice", "target", "best layer", "R2", "above random weights", "n"], rows)
    yield "The best layer is chosen on the same performances, which favours it a little."


def _errors(measured: Mapping) -> Iterator[str]:
    errors = measured["errors"]
    for key, title in {"works": "work", "deviations": "annotators' deviation", "notes": "notes"}.items():
        rows = [
            [name, part["n"], _interval(part["squared_error"], 4), f"{part['label_noise']:.4f}", _interval(part["r2"])]
            for name, part in errors[key].items()
        ]
        yield markdown_table([title, "n", "squared error", "of it label noise", "share of R2"], rows)
    order = sorted(errors["percepts"].items(), key=lambda item: -item[1]["r2"]["value"])
    rows = [[percept_words(name), _interval(entry["r2"]), f"{entry['ceiling']['value']:.3f}"] for name, entry in order]
    yield markdown_table(["percept", "R2", "ceiling"], rows)
    correlations = ", ".join(
        f"{name} {value:+.2f}" for name, value in errors["correlations"].items() if math.isfinite(value)
    )
    yield f"Spearman correlation of a performance's squared error with its {correlations}."


def _few_shot(measured: Mapping) -> Iterator[str]:
    yield (
        "Mean squared error on performances of other excerpts than the examples' (scale 0 to 1), and its difference to "
        "the model that is not adapted. “Adapted” is a ridge regression on the model's judgements that counts more, "
        "the more examples there are; “shifted” adds the examples' mean deviation, “own mean” hears nothing. Raters "
        "are resampled as wholes; of an instrument, excerpts are. Fewer raters have rated enough for more examples, so "
        "that rows differ in who is asked: compare within a row. The raters' other ratings are part of the labels that "
        "the model was trained on: they are new as individuals only."
    )
    rows = []
    for task, sizes in {"new raters": measured["raters"], **measured["instruments"]}.items():
        for size, entry in sizes.items():
            if not entry["num_tasks"]:
                rows.append([task, size, 0, *["–"] * (1 + len(METHODS))])
                continue
            cells = [_adapted(entry["methods"][method]) for method in (UNADAPTED, *METHODS)]
            rows.append([task, size, entry["num_tasks"], *cells])
    yield markdown_table(["task", "examples", "tasks", UNADAPTED, *METHODS], rows)
    counts = {size: entry["num_tasks"] for size, entry in measured["raters"].items()}
    few = [size for size, count in counts.items() if 0 < count < MIN_GROUPS]
    if few:
        numbers = ", ".join(f"{counts[size]} with {size} examples" for size in few)
        yield f"So few raters say nothing about others: {numbers}."


def _adapted(entry: Mapping) -> str:
    difference = entry["difference"]
    cell = f"{entry['squared_error']['value']:.4f}"
    return cell if difference is None else f"{cell}, {_interval(difference, 4, signed=True)}"


def _domains(measured: Mapping) -> Iterator[str]:
    yield "The same performances rendered otherwise, and the paired difference to the rendering known from training."
    rows = []
    for domain, entry in measured["domains"].items():
        for inputs, compared in entry["inputs"].items():
            for metric, words in METRIC_WORDS.items():
                if metric in compared:
                    values = [_interval(compared[metric][key]) for key in ("reference", "shifted")]
                    difference = _interval(compared[metric]["difference"], signed=True)
                    rows.append([domain, len(entry["item_ids"]), inputs, words, *values, difference])
    yield markdown_table(["rendering", "n", "inputs", "metric", "as in training", "other", "difference"], rows)


def _interval(entry: Mapping[str, float], digits: int = 3, signed: bool = False) -> str:
    form = f"{'+' if signed else ''}.{digits}f"
    if not math.isfinite(entry["low"]):  # a single group has no interval
        return f"{entry['value']:{form}}"
    return f"{entry['value']:{form}} ({entry['low']:{form}} to {entry['high']:{form}})"
