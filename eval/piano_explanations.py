"""Says in words what was measured of a performance: against other performances, and against one other."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from antiphon.eval.reference_population import Reference
from antiphon.processing.percepts import PERCEPT_POLES

MIN_PERFORMANCES = 5  # of fewer nothing is said
MIN_SHARE = 0.6  # what is nearer to the middle than that is not worth a sentence
POINTS = 7  # of the raters' scale
NO_BREAK_SPACE = "\u00a0"
DECIBELS_PER_LOG = 10 / math.log(10)
LOWEST_FREQUENCY = 27.5  # Hz of bin 0, from which brightness counts semitones


def percent(share: float, sign: str = "") -> str:
    """A share in percent; `sign` as in format specifications."""
    return f"{100 * share:{sign}.0f}{NO_BREAK_SPACE}%"


@dataclass(frozen=True)
class Wording:
    """How a descriptor is spoken of.

    Args:
        topic: Of several descriptors of one topic, the first that was measured is spoken of.
        less, more: What a low and a high value mean.
        describe: The value in words.
        smallest: Difference from which two performances are told apart in words.
        across_passages: Whether it means anything against performances of other music.
    """

    topic: str
    less: str
    more: str
    describe: Callable[[float], str]
    smallest: float
    across_passages: bool = True


WORDINGS = {
    "performance.velocity_mean": Wording(
        "loudness", "Softer than", "Louder than", lambda value: f"mean key velocity {value:.0f} of 127", 2.0
    ),
    "audio.loudness_median": Wording(
        "loudness", "Softer than", "Louder than",
        lambda value: f"median level {DECIBELS_PER_LOG * value:.1f} dB of full scale", 0.25,
    ),
    "performance.log_duration": Wording(
        "pace", "Faster than", "Slower than", lambda value: f"{math.exp(value):.1f} s long", 0.03,
        across_passages=False,
    ),
    "audio.attack_rate": Wording(
        "attacks", "Fewer attacks a second than in", "More attacks a second than in",
        lambda value: f"{value:.1f} attacks heard a second", 0.2,
    ),
    "performance.velocity_deviation": Wording(
        "dynamics", "Less varied in loudness than", "More varied in loudness than",
        lambda value: f"key velocities deviate by {value:.1f}", 1.0,
    ),
    "audio.loudness_range": Wording(
        "dynamics", "Less varied in loudness than", "More varied in loudness than",
        lambda value: f"levels span {DECIBELS_PER_LOG * value:.1f} dB", 0.25,
    ),
    "performance.velocity_contour": Wording(
        "shape", "Loudness changes less over the passage than in", "Loudness changes more over the passage than in",
        lambda value: f"the means of its eighths deviate by {value:.1f} in velocity", 1.0,
    ),
    "performance.melody_loudness": Wording(
        "melody", "The top notes stand out less than in", "The top notes stand out more than in",
        lambda value: f"{value:+.1f} in velocity against the others", 1.5,
    ),
    "performance.articulation_median": Wording(
        "articulation", "More detached than", "More connected than",
        lambda value: f"keys are held for {percent(value)} of the time to the next chord", 0.05,
    ),
    "alignment.asynchrony": Wording(
        "synchrony", "Hands and voices are more together than in", "Hands and voices are less together than in",
        lambda value: f"{1000 * value:.0f} ms apart on average", 0.003,
    ),
    "performance.chord_spread": Wording(
        "synchrony", "Chords are struck more together than in", "Chords are spread wider than in",
        lambda value: f"by {1000 * value:.0f} ms on average", 0.003,
    ),
    "performance.pedal_share": Wording(
        "pedal", "Less pedal than in", "More pedal than in", lambda value: f"down {percent(value)} of the time", 0.05
    ),
    "performance.pedal_rate": Wording(
        "pedal changes", "Fewer pedal changes than in", "More pedal changes than in",
        lambda value: f"pressed {value:.2f} times a second", 0.1,
    ),
    "performance.soft_pedal_share": Wording(
        "soft pedal", "Less soft pedal than in", "More soft pedal than in",
        lambda value: f"down {percent(value)} of the time", 0.05,
    ),
    "alignment.tempo_deviation": Wording(
        "tempo", "Steadier in tempo than", "Freer in tempo than",
        lambda value: f"tempo deviates by {percent(value)}", 0.02,
    ),
    "alignment.tempo_at_end": Wording(
        "ending", "Slower towards the end than", "Faster towards the end than",
        lambda value: f"tempo there {percent(math.expm1(value), sign='+')} against its mean", 0.03,
    ),
    "audio.brightness_mean": Wording(
        "brightness", "Darker than", "Brighter than",
        lambda value: f"the sound is centred at {LOWEST_FREQUENCY * 2 ** (value / 12):.0f} Hz", 0.25,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """A sentence and what it rests on.

    Args:
        percentile: Share of the population below the value in percent, equal ones counted half.
        num_performances: Size of the population.
        passage: Of the population; None for all performances.
    """

    text: str
    descriptor: str
    value: float
    percentile: float
    num_performances: int
    passage: str | None


@dataclass(frozen=True)
class Difference:
    """A sentence on what two performances differ in, and the measurements."""

    text: str
    descriptor: str
    first: float
    second: float


@dataclass(frozen=True)
class PerceptDifference:
    """How much higher the first performance is judged, in points, and how far a 90 % interval around it reaches.

    Args:
        reach: NaN where no interval was calibrated.
    """

    percept: str
    points: float
    reach: float

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval leaves only one sign."""
        return abs(self.points) > self.reach

    @property
    def text(self) -> str:
        """What the intervals allow one to say."""
        pole = PERCEPT_POLES[self.percept][int(self.points > 0)]
        size = f"{abs(self.points):.2f} points of {POINTS}"
        if self.is_told_apart:
            return f"The first is judged nearer to “{pole}”, by {size} (± {self.reach:.2f})."
        if math.isnan(self.reach):
            return f"Nearer to “{pole}” by {size}; without a calibrated interval this proves nothing."
        return f"Cannot be told apart: {size} towards “{pole}”, ± {self.reach:.2f}."


def explain(descriptors: Mapping[str, float], reference: Reference) -> list[Explanation]:
    """Says how a performance differs from others, the most extreme first.

    Args:
        descriptors: By name, NaN = missing.
        reference: See `find_reference`.
    """
    told = []
    for name, value in _measured(descriptors).items():
        means_something = reference.passage is not None or WORDINGS[name].across_passages
        if means_something and reference.counts.get(name, 0) >= MIN_PERFORMANCES:
            share, explanation = _against(name, value, reference)
            if share >= MIN_SHARE:
                told.append((share, explanation))
    return [explanation for _, explanation in sorted(told, key=lambda item: -item[0])]


def compare_descriptors(first: Mapping[str, float], second: Mapping[str, float]) -> list[Difference]:
    """Says what the first of two performances does otherwise than the second, the clearest first."""
    ours, theirs = _measured(first, second), _measured(second, first)
    differences = []
    for name in ours:
        wording, gap = WORDINGS[name], ours[name] - theirs[name]
        if abs(gap) >= wording.smallest:
            phrase = wording.more if gap > 0 else wording.less
            measured = f"{wording.describe(ours[name])} here, {wording.describe(theirs[name])} there"
            text = f"{phrase} the second: {measured}."
            differences.append((abs(gap) / wording.smallest, Difference(text, name, ours[name], theirs[name])))
    return [difference for _, difference in sorted(differences, key=lambda item: -item[0])]


def compare_percepts(
    first: np.ndarray, second: np.ndarray, first_reach: np.ndarray, second_reach: np.ndarray
) -> list[PerceptDifference]:
    """Compares the judgements of two performances, those that are told apart first.

    The errors of both are taken for independent. Of one passage they have much in common, so this claims too little
    rather than too much.

    Args:
        first, second: (percepts,) on the scale of the labels, 0 to 1.
        first_reach, second_reach: (percepts,) half the width of their 90 % intervals; NaN = not calibrated.
    """
    reaches = POINTS * np.hypot(first_reach, second_reach)
    differences = [
        PerceptDifference(percept, float(points), float(reach))
        for percept, points, reach in zip(PERCEPT_POLES, POINTS * (first - second), reaches)
    ]
    return sorted(differences, key=lambda item: (not item.is_told_apart, -abs(item.points)))


def _against(name: str, value: float, reference: Reference) -> tuple[float, Explanation]:
    """The sentence, and of how many performances it holds, as a share."""
    wording, count = WORDINGS[name], reference.counts[name]
    below, above = reference.shares(name, value)
    phrase, share = (wording.more, below) if below > above else (wording.less, above)
    if reference.passage is None:
        others = f"{percent(share)} of all performances ({count})"
    else:
        others = f"{round(share * count)} of the {count} performances of this passage ({percent(share)})"
    percentile = 100 * (below + (1 - below - above) / 2)
    text = f"{phrase} {others}: {wording.describe(value)}."
    return share, Explanation(text, name, value, percentile, count, reference.passage)


def _measured(descriptors: Mapping[str, float], other: Mapping[str, float] | None = None) -> dict[str, float]:
    """Of each topic the first descriptor that was measured, in the other performance too where there is one."""
    topics: dict[str, str] = {}
    for name, wording in WORDINGS.items():
        known = [described.get(name, math.nan) for described in (descriptors, other or descriptors)]
        if all(map(math.isfinite, known)):
            topics.setdefault(wording.topic, name)
    return {name: descriptors[name] for name in topics.values()}
