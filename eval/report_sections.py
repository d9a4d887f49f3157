"""Puts a report together: every section of a paper, from the files of a run or study."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from antiphon.eval.report_blocks import Bullets, Code, Details, Paragraph, Prose, Report, Section, Table
from antiphon.eval.report_data import data_blocks, leaking_properties
from antiphon.eval.report_failures import failure_blocks
from antiphon.eval.report_figures import comparison_figure, learning_curves
from antiphon.eval.report_peers import peers_blocks
from antiphon.eval.report_prose import ReportProse
from antiphon.eval.report_results import ablation_blocks, one_line, primary_metric, results_blocks, summary
from antiphon.eval.report_source import ReportSource, without_machine_paths
from antiphon.eval.result_formats import format_interval, format_number

TITLES = (
    "Problem",
    "Related numbers",
    "Method",
    "Data",
    "Results",
    "Ablations",
    "Learning curves",
    "Failures",
    "Limits",
    "Reproduction",
    "Environment",
)
TYPED_TITLE = "Numbers typed by hand"
# Parts of a recipe that say what is trained and how, not where it lies.
METHOD_PARTS = ("data", "model", "training")


def build_report(
    source: ReportSource,
    *,
    prose: ReportProse,
    peers: Sequence[dict] = (),
    typed: Sequence[str] = (),
    num_failures: int = 5,
    with_audio: bool = True,
) -> Report:
    """Write every section.

    Args:
        source: what was measured.
        prose: what a person wrote; it comes first in each section.
        peers: related numbers.
        typed: numbers that the prose holds without a key.
        num_failures: worst items shown for each set of conditions.
        with_audio: whether their recordings come along.
    """
    figures = [comparison_figure(source.comparisons)] if source.comparisons else []
    blocks = {
        "Problem": _problem(source),
        "Related numbers": peers_blocks(list(peers)),
        "Method": _method(source),
        "Data": data_blocks(source),
        "Results": results_blocks(source),
        "Ablations": ablation_blocks(source, figures),
        "Learning curves": [learning_curves(source) or Paragraph("No run logged its training.")],
        "Failures": failure_blocks(source, num_failures, with_audio=with_audio),
        "Limits": _limits(source),
        "Reproduction": _reproduction(source),
        "Environment": _environment(source),
    }
    sections = [
        Section(title, [*([Prose(text)] if (text := prose.sections.get(title)) else []), *blocks[title]])
        for title in TITLES
    ]
    if typed:
        warning = "The prose holds numbers beside the name of a metric that no re-run updates; quote them by key:"
        sections.append(Section(TYPED_TITLE, [Paragraph(warning), Bullets(typed)]))
    kind = "Study" if source.study else "Run"
    return Report(prose.title or f"{kind} {source.name}", prose.abstract, summary(source), sections)


def _problem(source: ReportSource) -> list:
    row = next(iter(source.rows.values()))
    goal = source.study.get("goal")
    text = f"Task: {row['task'].replace('-', ' ')}, on {row['dataset']['name']}."
    if source.study:
        text += f" {len(source.study.get('variants') or {})} variants of one recipe are held against each other."
    return [*([Paragraph(goal)] if goal else []), Paragraph(text)]


def _method(source: ReportSource) -> list:
    blocks: list = []
    parameters = {
        row["model"]["parameters"] for row in source.rows.values() if (row.get("model") or {}).get("parameters")
    }
    if parameters:
        sizes = " to ".join(f"{size:,}" for size in sorted({min(parameters), max(parameters)}))
        blocks.append(
            Paragraph(f"The model has {sizes} parameters. What it is and how it is trained, the recipe says.")
        )
    if variants := source.study.get("variants"):
        blocks.append(_variants_table(source, variants))
        folds, seeds = len(source.splits), source.study.get("seeds") or []
        metric = source.study.get("metric") or primary_metric(next(iter(source.rows.values())))
        design = f"Each variant is trained on {folds or 'an unknown number of'} folds with {len(seeds)} seeds"
        blocks.append(Paragraph(f"{design} ({one_line(seeds)}); the metric that decides is {metric}."))
    recipe = {part: source.recipe[part] for part in METHOD_PARTS if part in source.recipe}
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).strip()
    name = "Recipe of the baseline" if source.study else "Recipe"
    return [*blocks, Details(name, [Code(text, "yaml")])]


def _variants_table(source: ReportSource, variants: Mapping[str, dict | None]) -> Table:
    lines = []
    for variant, changes in variants.items():
        is_baseline = variant == source.study.get("baseline") != "baseline"
        label = f"{variant} (baseline)" if is_baseline else variant
        if not changes:
            lines.append([label, "nothing", "", ""])
        for key, value in (changes or {}).items():
            lines.append([label, key, one_line(_look_up(source.recipe, key)), one_line(value)])
    return Table("What each variant changes in the recipe", ["variant", "changes", "from", "to"], lines)


def _look_up(recipe: Mapping, key: str):
    value = recipe
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _limits(source: ReportSource) -> list:
    claims = [claim for row in source.rows.values() for claim in row["claims"]]
    warnings = [warning for comparison in source.comparisons for warning in comparison.get("warnings") or []]
    lines = list(dict.fromkeys([*claims, *warnings]))
    if any(run.environment.get("git_changes") for run in source.runs):
        lines.append("trained from a working tree with uncommitted changes, so the commit alone does not reproduce it")
    if properties := leaking_properties(source):
        lines.append(f"{one_line(properties)} of the files alone tell more than chance; the audit says how much")
    lines.append("the results hold under the conditions printed with them and say nothing about other data")
    return [Bullets(lines)]


def _reproduction(source: ReportSource) -> list:
    trained_at = sorted({run.environment["git_commit"] for run in source.runs if run.environment.get("git_commit")})
    environments = [source.environment] if source.environment else [run.environment for run in source.runs]
    commits = [environment["git_commit"] for environment in environments if environment.get("git_commit")]
    commands = dict.fromkeys(
        _command(environment["command"]) for environment in environments if environment.get("command")
    )
    if not commands:
        return [Paragraph("The command was not written down: there is no environment.json."), *_runs_blocks(source)]
    lines = [f"git checkout {max(commits, key=commits.count)}"] if commits else []
    lines += ["pip install -c constraints.txt '.[synthesis]'", *commands]
    folder = without_machine_paths(str(source.folder.resolve()))
    lines.append(f"python eval/report.py {shlex.quote(source.name if Path(folder).is_absolute() else folder)}")
    blocks = [Paragraph("In a clone of the repository:"), Code("\n".join(lines), "bash")]
    if trained_at and set(trained_at) != {*commits[:1]}:
        blocks.append(Paragraph(f"The trainings themselves ran at {', '.join(trained_at)}."))
    return [*blocks, *_runs_blocks(source)]


def _command(words: Sequence[str]) -> str:
    """How a person starts what a training was started by: a study's trainings are all started by the study."""
    words = words[: words.index("--trial")] if "--trial" in words else words
    return shlex.join(["python", f"train_scripts/{Path(words[0]).name}", *words[1:]])


def _runs_blocks(source: ReportSource) -> list:
    if not source.study or not source.runs:
        return []
    lines = []
    for run in source.runs:
        row = next(iter(run.rows.values()), None)
        result = format_interval(row["metrics"][primary_metric(row)]) if row else "–"
        lines.append(
            [run.variant, run.fold, one_line(run.seed), run.status, result, format_number(run.train_seconds, "s")]
        )
    row = next(iter(source.rows.values()))
    headings = ["variant", "fold", "seed", "status", primary_metric(row), "training time"]
    return [Details(f"All {len(lines)} trainings", [Table("All trainings", headings, lines)])]


def _environment(source: ReportSource) -> list:
    environments = [run.environment for run in source.runs if run.environment]
    if not environments:
        return [Paragraph("The environment was not written down: there is no environment.json.")]
    names = ("hardware", "cpu_count", "processes", "python", "date", "git_commit")
    lines = [
        [name.replace("_", " "), "; ".join(sorted({one_line(environment.get(name)) for environment in environments}))]
        for name in names
    ]
    versions: dict[str, set[str]] = {}
    for environment in environments:
        for package, version in (environment.get("packages") or {}).items():
            versions.setdefault(package, set()).add(version)
    packages = [[package, "; ".join(sorted(found))] for package, found in sorted(versions.items())]
    return [
        Table("Where it was trained", ["condition", "value"], lines),
        Details(f"Packages ({len(packages)})", [Table("Packages", ["package", "version"], packages)]),
    ]
