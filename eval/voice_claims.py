"""What a table of judged conversions shows and what it does not, in plain words.

Likeness at the cost of the words is none: a baseline is beaten by what is nearer to the target's voice and, by every
recogniser that heard it, keeps the words within 10 points of the unconverted source.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from antiphon.eval import statistics
from antiphon.eval.baselines import BASELINES, NO_INPUT, simple_baseline_claims
from antiphon.eval.statistics import Interval
from antiphon.eval.voice_counts import count_outputs
from antiphon.eval.voice_statistics import PRIMARY_METRIC, Outcomes, known_metrics

MAX_WER_LOSS = 0.10  # to what of the unconverted source's words may be lost before likeness counts for nothing
WORD_METRICS = {"wer": "the first recogniser", "second_wer": "the second recogniser"}
KNOWN_JUDGES = {"own_similarity": "second speaker judge", "second_wer": "second recogniser"}
OUTPUTS = {
    "failed_outputs": "conversions FAILED and count as silence",
    "silent_outputs": "outputs are SILENT and count as the worst there is",
    "clipped_outputs": "outputs exceeded full scale and were clipped",
}


@dataclass(frozen=True)
class WordLoss:
    """What became of the words: WER minus that of the unconverted source, by metric.

    Args:
        losses: of each recogniser that heard both.
    """

    losses: Mapping[str, Interval]

    @property
    def is_small(self) -> bool | None:
        """Whether every recogniser shows that few words were lost; None where none heard any."""
        if not self.losses:
            return None
        return all(loss.high <= MAX_WER_LOSS for loss in self.losses.values())

    def describe(self) -> str:
        """The loss by each recogniser."""
        return "; ".join(
            f"{100 * loss.value:+.1f} points of WER ({100 * loss.low:.1f} to {100 * loss.high:.1f}, "
            f"n {loss.num_items}) by {WORD_METRICS[metric]}"
            for metric, loss in self.losses.items()
        )


def word_loss(outcomes: Mapping[str, Outcomes]) -> WordLoss:
    """The loss of words to the unconverted source, from the differences to each baseline."""
    for name, own in outcomes.items():
        if BASELINES[name].kind == NO_INPUT:
            return WordLoss({metric: own[metric][0] for metric in WORD_METRICS if metric in own})
    return WordLoss({})


def is_beaten(nearer: bool | None, loss: WordLoss) -> bool | None:
    """Whether a baseline is beaten; None where nothing could have shown it.

    Args:
        nearer: whether likeness is shown to be greater.
        loss: of words.
    """
    if nearer is False or loss.is_small is False:
        return False
    return None if loss.is_small is None else nearer


def item_claims(items: pd.DataFrame) -> list[str]:
    """Say where a voice was judged by what the system was given, which outputs are none, and which judges are known."""
    once = items.drop_duplicates("item_id")
    claims = []
    if number := int(once["voice_is_reference"].sum()):
        claims.append(
            f"similarity leaves out {number} of {len(once)} conversions, whose target has no recording but the "
            "reference; reference_similarity is theirs, to the reference before noise"
        )
    claims += [f"{number} of {len(items)} {OUTPUTS[name]}" for name, number in count_outputs(items).items() if number]
    return claims + [
        f"trained against the {KNOWN_JUDGES[metric]}: {metric} is no evidence" for metric in known_metrics(items)
    ]


def comparison_claims(
    baselines: Mapping, corrected: Outcomes, nearer: Mapping[str, bool | None], loss: WordLoss
) -> list[str]:
    """Say which baselines the voice is nearer to the target than, and what became of the words.

    Args:
        baselines: entries of the row.
        corrected: the primary metric against each baseline, as `correct_outcomes` returns it.
        nearer: for each of them whether likeness is shown to be greater.
        loss: of words.
    """
    claims = []
    for name, outcome in corrected.items():
        entry = {**baselines[name], "beaten": nearer[name]}
        claims += simple_baseline_claims(entry, *outcome, "speaker", higher_is_better=True)
    if not corrected:
        claims.append("likeness is compared with no baseline")
    if loss.is_small is None:
        return [*claims, "no words were recognised: nothing says that they were kept"]
    names = [name.replace("_", " ") for name in corrected if nearer[name]]
    if not loss.is_small:
        return [
            *claims,
            f"NOT shown to keep the words within 10 points of the unconverted source: {loss.describe()}",
        ]
    if names:
        size = min(corrected[name][0].num_items for name in corrected if nearer[name])
        claims.append(
            f"nearer to the target's voice than {', '.join(names)} ({PRIMARY_METRIC}, n {size}, p corrected for "
            f"{len(corrected)} comparisons), at {loss.describe()} to the unconverted source"
        )
    return claims


def nearer_than(corrected: Outcomes) -> dict[str, bool | None]:
    """For each baseline whether likeness is shown to be greater than its."""
    return {name: statistics.is_better(*outcome, higher_is_better=True) for name, outcome in corrected.items()}
