"""The data behind a run or study, for a report: what was trained on, the splits, and their audit."""

from collections.abc import Iterator, Mapping

from antiphon.eval.report_blocks import Bullets, Details, Paragraph, Table
from antiphon.eval.report_results import one_line
from antiphon.eval.report_source import ReportSource
from antiphon.processing.corpora.leakage_probe import LeakageProbe


def data_blocks(source: ReportSource) -> list:
    """Say what was trained on, how it was split, and what training and test share."""
    blocks = [_training_table(source)] if any(run.training_data for run in source.runs) else []
    if not blocks:
        blocks.append(Paragraph("What was trained on is not written down here: there is no training_data.json."))
    if source.splits:
        parts = list(dict.fromkeys(part for split in source.splits.values() for part in split))
        lines = [[fold, *(f"{len(split.get(part, [])):,}" for part in parts)] for fold, split in source.splits.items()]
        blocks.append(
            Details(f"Items of each of {len(lines)} folds", [Table("Items of each fold", ["fold", *parts], lines)])
        )
    return [*blocks, *_audit_blocks(source)]


def _training_table(source: ReportSource) -> Table:
    """Corpora by variant; folds and seeds of a variant share a line, which gives the range over them."""
    entries: dict[tuple[str, str, str, str], list[dict]] = {}
    for run in source.runs:
        for corpus in run.training_data:
            texts = (one_line(corpus.get(key)) for key in ("name", "split", "license"))
            entries.setdefault((run.variant or source.name, *texts), []).append(corpus)
    counts = ("num_items", "num_speakers", "hours")
    lines = [
        [*key, *(_range(corpus.get(count) for corpus in corpora) for count in counts)]
        for key, corpora in entries.items()
    ]
    headings = ["trained", "corpus", "split", "licence", "items", "speakers", "hours"]
    return Table("Training data", headings, lines)


def _range(values) -> str:
    known = [value for value in values if value is not None]
    return " to ".join(f"{value:,.6g}" for value in sorted({min(known), max(known)})) if known else "–"


def _audit_blocks(source: ReportSource) -> list:
    """What the audit of each split found: every number that it gives, and what the files alone tell."""
    audits = list(_audits(source))
    found = dict.fromkeys(
        (split, tuple((key, one_line(value)) for key, value in audit.items() if isinstance(value, int | float | str)))
        for split, audit in audits
    )
    keys = list(dict.fromkeys(key for _, numbers in found for key, _ in numbers))
    if not keys:
        return [Paragraph("The splits were not audited: the training data was not given when this was measured.")]
    lines = [
        [split, *(dict(numbers).get(key, "not audited" if not numbers else "–") for key in keys)]
        for split, numbers in found
    ]
    headings = ["test split", *(key.removeprefix("num_").replace("_", " ") for key in keys)]
    probes = dict.fromkeys(f"{split}: {probe}" for split, audit in audits for probe in _probes(audit))
    blocks = [Table("What training and test share", headings, lines), *([Bullets(list(probes))] if probes else [])]
    return [Details("Audit of the splits", blocks)]


def leaking_properties(source: ReportSource) -> list[str]:
    """Return the properties of the files that alone tell more about what is to be predicted than chance."""
    probes = (probe for _, audit in _audits(source) for probe in _probes(audit))
    return sorted({probe.property for probe in probes if probe.better_than_chance})


def _audits(source: ReportSource) -> Iterator[tuple[str, dict]]:
    """Each test split that was measured on, with its audit; empty where there was none."""
    for row in source.rows.values():
        whole = {"split": row["dataset"]["split"], "audit": row["conditions"].get("audit")}
        for part in row.get("folds") or [whole]:
            yield part["split"], part.get("audit") or {}


def _probes(audit: Mapping) -> list[LeakageProbe]:
    return [LeakageProbe(**probe) for probe in audit.get("leakage") or []]
