"""How good a checkpoint is, in the words of the result rows that evaluation wrote."""

import json
import re
from pathlib import Path

from checkpoints import EXPORT_REPORT, find_results, weights_sha256

METRIC_NAMES = {"wer": "word error rate", "cer": "character error rate", "accuracy": "transcripts without an error"}
NO_BREAK_SPACE = "\u00a0"
NO_RESULTS = "**No results found beside this checkpoint:** nobody has measured how good it is."


def describe_scores(folder: Path) -> str:
    """Markdown for all results that were measured on the weights in a checkpoint folder.

    A row that names other weights is left out and counted: its numbers say nothing about these.
    """
    digest = weights_sha256(folder)
    sections, num_foreign, num_broken = [], 0, 0
    for path in find_results(folder):
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            section = describe_row(row)
            is_foreign = row["checkpoint_sha256"] != digest
        except (ValueError, KeyError, TypeError, AttributeError):
            num_broken += 1
            continue
        if is_foreign:
            num_foreign += 1
        else:
            sections.append(section)
    if not sections:
        sections.append(NO_RESULTS)
    if num_foreign:
        sections.append(f"Left out: {_count(num_foreign, 'result')} measured on other weights than these.")
    if num_broken:
        sections.append(f"Left out: {_count(num_broken, 'file')} in `results` that cannot be read as a result row.")
    return "\n\n".join(sections)


def describe_export(folder: Path) -> str:
    """Markdown for an exported format: what it is and how it did beside the original, as the exporter measured."""
    report = json.loads((folder / EXPORT_REPORT).read_text(encoding="utf-8"))
    name, parity, conditions = report["format"], report["parity"], report["conditions"]
    sizes, speed = report["model_bytes"], report["speed"][name]
    return (
        f"Running **{_inline(name)}** ({_inline(report['description'])}). On {parity['num_clips']} recordings of "
        f"{_inline(conditions['corpus'])} {_inline(conditions['split'])} its word error rate was "
        f"{parity['wer_exported']:.2%} where the original's is {parity['wer_original']:.2%}; its model file has "
        f"{sizes[name] / 2**20:.1f} MiB where the original's has {sizes['original'] / 2**20:.1f}; it took "
        f"{speed['ratio']:.2f} of the original's time."
    )


def describe_row(row: dict) -> str:
    """Markdown for one result row: its metrics with intervals beside those of the baselines, its claims."""
    dataset, baselines = row["dataset"], row["baselines"]
    size = f"{dataset['num_items']} recordings, {_count(dataset['num_speakers'], 'speaker')}"
    split = " ".join(f"{dataset['name']} {dataset['split']}".split())
    header = ["", "this model", *(f"baseline: {name.replace('_', ' ')}" for name in baselines)]
    table = [header, ["---"] * len(header)]
    for name, metric in row["metrics"].items():
        direction = "↑" if metric["higher_is_better"] else "↓"
        cells = [f"{METRIC_NAMES.get(name, name)} {direction}", f"**{format_metric(metric)}**"]
        for baseline in baselines.values():
            other = baseline["metrics"].get(name)
            cells.append("–" if other is None else format_metric(other))
        table.append(cells)
    lines = [f"#### {_inline(row['benchmark'])}", f"Measured on {_inline(split)}: {size}.", ""]
    lines += ["| " + " | ".join(map(_inline, cells)) + " |" for cells in table]
    claims = list(row["claims"])
    decoding = row["conditions"].get("decoding", "greedy")
    if decoding != "greedy":
        claims.append(f"measured with decoding by {decoding}, which this page may not be set to")
    return "\n".join([*lines, "", *(f"- {_inline(claim)}" for claim in claims)]).rstrip()


def format_metric(metric: dict) -> str:
    """A value with its 95 % interval; ratios as percentages. Only between the two may the line break."""
    value, low, high = (metric.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "–"
    is_ratio = metric["unit"] == "ratio"

    def number(part: float) -> str:
        return f"{100 * part:.1f}" if is_ratio else f"{part:.3g}"

    interval = "no interval" if low is None or high is None else f"{number(low)} to {number(high)}"
    value = f"{number(value)} {'%' if is_ratio else metric['unit']}"
    return " ".join(part.replace(" ", NO_BREAK_SPACE) for part in (value, f"({interval})"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _inline(text: str) -> str:
    """One line of Markdown that cannot break its table."""
    return re.sub(r"[\r\n\t ]+", " ", str(text)).strip().replace("|", "\\|")
