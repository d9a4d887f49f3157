"""Rankings: rows under the same conditions, best first, with a common rank where nothing tells them apart."""

import hashlib
import json
from dataclasses import dataclass

from rows import NO_INPUT, Entry, clip

MIN_GROUPS = 10
CONDITIONS = (
    "sampling_rate",
    "resample",
    "decoding",
    "text_normalizer",
    "group_by",
    "judges",
    "corpus_sha256",
    "split_sha256",
    "item_ids_sha256",
)
NOT_BETTER = "NOT BETTER THAN HEARING NOTHING"
CANNOT_TELL = "cannot tell whether this is better than hearing nothing"
RULE = f"""**Rank = 1 + the number of systems that are shown to be better.** Systems with the same rank (=) are tied:
nothing tells them apart from the best of them.

- *Shown to be better* means: in the paired comparison that a row carries, both systems on the same items and whole
  groups of items resampled, the 95 % interval of the difference excludes zero.
- It may rest on one training of each system, which says nothing about training anew.
- Where no row carries that comparison, the two 95 % intervals must not overlap. This is approximate and cautious:
  systems whose intervals overlap somewhat may still differ.
- With fewer than {MIN_GROUPS} groups (speakers, pieces, conversations) nobody is shown to be better: so few say too
  little about others. The table is then in the order of the values, and all share a rank.
- Ranks are not corrected for the number of systems: of twenty that are equal, one may look better by chance.
- A system that does not significantly beat its strongest baseline without input is marked **{NOT_BETTER}**.
- Rows measured under other conditions (items, corpus, text normaliser, sampling rate, decoding, judges) are never in
  one ranking. Package versions and hardware are shown with each system but do not separate rankings."""


@dataclass(frozen=True)
class Line:
    """A system in a ranking, or the strongest baseline that hears nothing.

    Args:
        name: To show.
        result: Value, interval, unit and direction of the metric that decides.
        metrics: All of them.
        rank: None for a baseline.
        tied: Whether another system has the same rank.
        warning: `NOT_BETTER`, `CANNOT_TELL` or nothing.
        entry: The system's row; None for a baseline.
        description: What a baseline does.
    """

    name: str
    result: dict
    metrics: dict
    rank: int | None = None
    tied: bool = False
    warning: str = ""
    entry: Entry | None = None
    description: str = ""


@dataclass(frozen=True)
class Ranking:
    """Lines under one set of conditions, best first.

    Args:
        key: Digest of the conditions.
        conditions: By name, in words.
        metric: Name of the one that decides.
        lines: Systems, and the baseline at the place that its value has.
    """

    key: str
    conditions: dict[str, str]
    metric: str
    lines: list[Line]

    @property
    def label(self) -> str:
        """The conditions that a visitor tells rankings apart by."""
        wanted = ("benchmark", "corpus", "split", "decoding", "sampling rate")
        return " · ".join(dict.fromkeys(self.conditions[name] for name in wanted))

    @property
    def num_groups(self) -> int | None:
        """How many groups were resampled; None where a row does not say."""
        return next(line.result.get("num_groups") for line in self.lines if line.entry)

    def find(self, name: str) -> Line | None:
        """The line of a system."""
        return next((line for line in self.lines if line.entry and line.name == name), None)


def conditions_of(entry: Entry) -> dict[str, str]:
    """What two rows must share to be in one ranking, in words."""
    dataset, conditions = entry.row["dataset"], entry.row["conditions"]
    texts = {"benchmark": entry.row["benchmark"], "corpus": dataset.get("name"), "split": dataset.get("split")}
    texts |= {name.replace("_", " "): conditions.get(name) for name in CONDITIONS}
    texts["metric"] = entry.metric
    if (rate := conditions.get("sampling_rate")) is not None:
        texts["sampling rate"] = f"{rate} Hz"
    return {name: clip("not stated" if text is None else text) for name, text in texts.items()}


def rank_entries(entries: list[Entry]) -> list[Ranking]:
    """Puts rows into rankings, one for each set of conditions; the one with the most systems comes first."""
    members: dict[str, list[Entry]] = {}
    for entry in entries:
        members.setdefault(json.dumps(conditions_of(entry)), []).append(entry)
    rankings = []
    for text, own in sorted(members.items()):
        lines = sorted([*_systems(own), _strongest_baseline(own)], key=lambda line: _badness(line.result))
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        rankings.append(Ranking(key, json.loads(text), own[0].metric, lines))
    return sorted(rankings, key=lambda ranking: -len(ranking.lines))


def is_shown_better(first: Entry, other: Entry) -> bool:
    """Whether `first` is shown to be better than `other`, by the rule of the page."""
    if min(entry.result.get("num_groups") or 0 for entry in (first, other)) < MIN_GROUPS:
        return False
    sign = 1 if first.result["higher_is_better"] else -1
    if (difference := _paired_difference(first, other)) is not None:
        return min(sign * end for end in difference) > 0
    ends = [[entry.result.get(end) for end in ("low", "high")] for entry in (first, other)]
    if any(end is None for pair in ends for end in pair):
        return False
    return min(sign * end for end in ends[0]) > max(sign * end for end in ends[1])


def _paired_difference(first: Entry, other: Entry) -> tuple[float, float] | None:
    """The interval of `first` minus `other`, where the row of either carries the comparison."""
    for own, reference, sign in ((first, other, 1), (other, first, -1)):
        if (ends := own.differences.get(reference.row.get("checkpoint_sha256"))) is not None:
            return sign * ends[0], sign * ends[1]
    return None


def _systems(entries: list[Entry]) -> list[Line]:
    names: dict[str, int] = {}
    ranks = [1 + sum(is_shown_better(other, entry) for other in entries) for entry in entries]
    lines = []
    for entry, rank in zip(entries, ranks):
        # Two runs may have one name.
        names[entry.name] = names.get(entry.name, 0) + 1
        name = entry.name if names[entry.name] == 1 else f"{entry.name} ({names[entry.name]})"
        lines.append(
            Line(name, entry.result, entry.row["metrics"], rank, ranks.count(rank) > 1, _warning(entry), entry)
        )
    return lines


def _warning(entry: Entry) -> str:
    baselines = [baseline for baseline in entry.row["baselines"].values() if baseline["kind"] == NO_INPUT]
    strongest = min(baselines, key=lambda baseline: _badness(entry.result | baseline["metrics"][entry.metric]))
    if strongest.get("beaten") is True:
        return ""
    return CANNOT_TELL if strongest.get("beaten") is None else NOT_BETTER


def _strongest_baseline(entries: list[Entry]) -> Line:
    """The best of all rows' baselines without input: models trained on other texts have other best constants."""
    lines = [
        Line(clip(name.replace("_", " "), 80), entry.result | baseline["metrics"][entry.metric], baseline["metrics"],
             description=clip(baseline.get("description", "")))
        for entry in entries
        for name, baseline in entry.row["baselines"].items()
        if baseline["kind"] == NO_INPUT
    ]  # fmt: skip
    return min(lines, key=lambda line: _badness(line.result))


def _badness(result: dict) -> float:
    return -result["value"] if result["higher_is_better"] else result["value"]
