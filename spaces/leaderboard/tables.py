"""Rankings and systems as HTML tables. All text in them comes from strangers and is escaped here."""

import html

from ranking import CANNOT_TELL, Line, Ranking
from rows import Entry, clip, is_number

METRIC_NAMES = {"wer": "word error rate", "cer": "character error rate", "accuracy": "without an error"}
MAX_SHOWN = 100  # refused files
MAX_OPEN_GROUPS = 12


def format_number(value: object, unit: object) -> str:
    """A number with its unit, a ratio as a percentage."""
    if not is_number(value):
        return "–"
    return f"{100 * value:.2f} %" if unit == "ratio" else f"{value:.4g} {clip(unit or '', 20)}".strip()


def format_interval(metric: object) -> str:
    """The 95 % interval of a metric, without its unit."""
    if not isinstance(metric, dict) or not (is_number(metric.get("low")) and is_number(metric.get("high"))):
        return "no interval"
    low, high = (format_number(metric[end], metric.get("unit")).removesuffix(" %") for end in ("low", "high"))
    return f"{low} to {high}"


def metric_name(name: str, metric: dict) -> str:
    """A metric's name with the direction that is better."""
    return f"{METRIC_NAMES.get(name, clip(name, 40))} {'↑' if metric['higher_is_better'] else '↓'}"


def ranking_table(ranking: Ranking) -> str:
    """The table of a ranking, each system a button that carries its name."""
    metrics = next(line.metrics for line in ranking.lines if line.entry)
    names = [ranking.metric, *(name for name in metrics if name != ranking.metric)]
    head = ["rank", "system", *(cell for name in names for cell in (metric_name(name, metrics[name]), "95 % interval"))]
    rows = [_row([_escaped(cell) for cell in head], "th")]
    rows += [_ranking_row(line, names, metrics) for line in ranking.lines]
    caption = _escaped(f"{ranking.label}: {_size(ranking)}")
    return f'<table class="ranking"><caption>{caption}</caption>{"".join(rows)}</table>'


def describe_system(line: Line) -> str:
    """Everything that a row says about a system: what it is, claims, metrics beside baselines, groups, conditions."""
    entry = line.entry
    warning = f'<p class="warning">{_escaped(line.warning)}</p>' if line.warning else ""
    claims = "".join(f"<li>{_escaped(claim)}</li>" for claim in entry.row["claims"])
    parts = [
        f"<h2>{_escaped(line.name)}</h2>{warning}<p>{_escaped(_facts(entry))}</p>",
        f"<h3>Claims</h3><ul>{claims}</ul>" if claims else "",
        "<h3>Beside its baselines</h3>" + _baselines_table(entry),
        _groups_table(entry),
        f"<details><summary>Conditions</summary>{_conditions_table(entry)}</details>",
    ]
    return f'<div class="system">{"".join(parts)}</div>'


def refused_list(refused: dict[str, str]) -> str:
    """The files that were left out, each with its reason."""
    lines = [f"<li><code>{_escaped(path)}</code>: {_escaped(reason)}</li>" for path, reason in refused.items()]
    more = f"<li>and {len(lines) - MAX_SHOWN} more</li>" if len(lines) > MAX_SHOWN else ""
    return f"<ul>{''.join(lines[:MAX_SHOWN])}{more}</ul>"


def _ranking_row(line: Line, names: list[str], metrics: dict) -> str:
    if line.entry:
        rank = f"{line.rank}{'=' if line.tied else ''}"
        system = f'<button type="button" data-system="{_escaped(line.name)}">{_escaped(line.name)}</button>'
    else:
        rank, system = "–", f"baseline: {_escaped(line.name)}"
    note = line.warning or line.description
    system += f'<span class="{_note_class(line)}">{_escaped(note)}</span>' if note else ""
    cells = [rank, system]
    for name in names:
        # A baseline's metric may leave out what the system's says: unit and direction.
        metric = {**metrics[name], **(line.metrics.get(name) or {"value": None, "low": None})}
        cells += [_escaped(format_number(metric["value"], metric.get("unit"))), _escaped(format_interval(metric))]
    return _row(cells, "td", "" if line.entry else "baseline")


def _note_class(line: Line) -> str:
    return "note" if line.warning in ("", CANNOT_TELL) else "warning"


def _size(ranking: Ranking) -> str:
    row = next(line.entry.row for line in ranking.lines if line.entry)
    group = str(row["conditions"].get("group_by", "group")).removesuffix("_id")
    items, groups = row["dataset"].get("num_items", "?"), ranking.num_groups
    return f"{items} items, intervals over {'?' if groups is None else groups} groups ({group})"


def _facts(entry: Entry) -> str:
    model, conditions = entry.row.get("model", {}), entry.row["conditions"]
    facts = []
    if is_number(model.get("parameters")):
        facts.append(f"{model['parameters']:,} parameters")
    factor = entry.row.get("speed", {}).get("real_time_factor")
    if is_number(factor):
        facts.append(f"real-time factor {factor:.4g} on {conditions.get('hardware', 'unknown hardware')}")
    if seeds := entry.row.get("seeds"):
        facts.append(f"{len(seeds)} trainings (seeds {', '.join(map(str, seeds))})")
    facts.append(f"checkpoint {str(entry.row.get('checkpoint_sha256', 'not stated'))[:12]}")
    facts.append(f"measured {conditions.get('date', 'at an unknown time')}")
    return "; ".join(facts)


def _baselines_table(entry: Entry) -> str:
    baselines = entry.row["baselines"]
    head = ["metric", "this system", *(name.replace("_", " ") for name in baselines)]
    rows = [_row([_escaped(cell) for cell in head], "th")]
    for name, metric in entry.row["metrics"].items():
        others = [baseline["metrics"].get(name) for baseline in baselines.values()]
        cells = [metric_name(name, metric)]
        cells += [_value(other, metric.get("unit")) for other in (metric, *others)]
        rows.append(_row([_escaped(cell) for cell in cells], "td"))
    notes = [
        f"<li>{_escaped(name.replace('_', ' '))} {_escaped(baseline.get('description', ''))}: {_verdict(baseline)}</li>"
        for name, baseline in baselines.items()
    ]
    return f"<table>{''.join(rows)}</table><ul>{''.join(notes)}</ul>"


def _value(metric: object, unit: object) -> str:
    if not isinstance(metric, dict):
        return "–"
    return f"{format_number(metric.get('value'), unit)} ({format_interval({'unit': unit, **metric})})"


def _verdict(baseline: dict) -> str:
    return {True: "beaten", False: "not beaten", None: "cannot tell"}.get(baseline.get("beaten"), "cannot tell")


def _groups_table(entry: Entry) -> str:
    groups = entry.row.get("groups", {})
    if not groups:
        return ""
    metrics = entry.row["metrics"]
    rows = [
        _row([_escaped(cell) for cell in ("group", *(metric_name(*item) for item in metrics.items()), "items")], "th")
    ]
    for group, values in groups.items():
        numbers = [format_number(values.get(name), metric.get("unit")) for name, metric in metrics.items()]
        cells = [clip(group, 80), *numbers, clip(values.get("n", "–"), 20)]
        rows.append(_row([_escaped(cell) for cell in cells], "td"))
    is_open = " open" if len(groups) <= MAX_OPEN_GROUPS else ""
    return f"<details{is_open}><summary>Every group ({len(groups)})</summary><table>{''.join(rows)}</table></details>"


def _conditions_table(entry: Entry) -> str:
    dataset = {f"dataset {key.replace('_', ' ')}": value for key, value in entry.row["dataset"].items()}
    conditions = {key.replace("_", " "): value for key, value in entry.row["conditions"].items()}
    rows = [
        _row([_escaped(clip(key, 60)), f"<code>{_escaped(value)}</code>"], "td")
        for key, value in {**dataset, **conditions}.items()
    ]
    return f'<table class="conditions">{"".join(rows)}</table>'


def _row(cells: list[str], tag: str, kind: str = "") -> str:
    return f'<tr class="{kind}">{"".join(f"<{tag}>{cell}</{tag}>" for cell in cells)}</tr>'


def _escaped(text: object) -> str:
    return html.escape(clip(text))
