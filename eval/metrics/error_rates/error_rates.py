"""Word and character error rates with their edit counts, as an `evaluate` module over jiwer."""

from collections.abc import Hashable
from typing import ClassVar

import datasets
import evaluate
import jiwer

_DESCRIPTION = """\
Edits that turn the reference transcript into the hypothesis, divided by the length of the reference, over words (WER)
and over characters including spaces (CER). Rates are sums over all items divided by sums, not means of rates.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: hypotheses, one string per item.
    references: what was said, one string per item. Text is compared as it is: normalise both sides first.
    groups: optional label per item (speaker, item id); adds `per_group`.
Returns:
    `wer`, `cer`: ratios, 0 is best, above 1 is possible. Where the references hold no words at all: 0 if the
        hypotheses hold none either, else infinite (jiwer itself would return the number of insertions).
    `hits`, `substitutions`, `deletions`, `insertions`, `reference_words`: counts of words.
    `character_errors`, `reference_characters`: counts of characters.
    `per_group`: label -> the same measures over its items, if `groups` was given.
Raises:
    ValueError: no items, or not as many groups as items.
Examples:
    >>> metric = evaluate.load("eval/metrics/error_rates")
    >>> metric.compute(predictions=["nine four"], references=["nine five"])["wer"]
    0.5
"""

_CITATION = """\
@inproceedings{morris2004, title={From {WER} and {RIL} to {MER} and {WIL}: improved evaluation measures for connected
speech recognition}, author={Morris, Andrew and Maier, Viktoria and Green, Phil}, booktitle={Interspeech}, year={2004}}
"""

_COUNTS = (
    "hits",
    "substitutions",
    "deletions",
    "insertions",
    "reference_words",
    "character_errors",
    "reference_characters",
)


class ErrorRates(evaluate.Metric):
    """Word and character error rate; `outputs` declares the unit and direction of each rate."""

    outputs: ClassVar = {
        "wer": {"unit": "ratio", "higher_is_better": False},
        "cer": {"unit": "ratio", "higher_is_better": False},
    }

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
            reference_urls=["https://github.com/jitsi/jiwer"],
        )

    def _compute(self, predictions: list[str], references: list[str], groups: list[Hashable] | None = None) -> dict:
        if len(references) == 0:
            raise ValueError("`references` is empty, so no error rate is defined; expected at least one item.")
        counts = [_count_edits(reference, hypothesis) for reference, hypothesis in zip(references, predictions)]
        result = _rates(counts)
        if groups is not None:
            if len(groups) != len(counts):
                raise ValueError(f"`groups` has {len(groups)} labels for {len(counts)} items; expected one per item.")
            members = {}
            for group, count in zip(groups, counts):
                members.setdefault(group, []).append(count)
            result["per_group"] = {group: _rates(group_counts) for group, group_counts in members.items()}
        return result


def _count_edits(reference: str, hypothesis: str) -> dict[str, int]:
    words = jiwer.process_words(reference, hypothesis)
    characters = jiwer.process_characters(reference, hypothesis)
    return {
        "hits": words.hits,
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "reference_words": len(words.references[0]),
        "character_errors": characters.substitutions + characters.deletions + characters.insertions,
        "reference_characters": len(characters.references[0]),
    }


def _rates(counts: list[dict[str, int]]) -> dict[str, float]:
    total = {name: sum(count[name] for count in counts) for name in _COUNTS}
    word_errors = total["substitutions"] + total["deletions"] + total["insertions"]
    return {
        "wer": _ratio(word_errors, total["reference_words"]),
        "cer": _ratio(total["character_errors"], total["reference_characters"]),
        **total,
    }


def _ratio(errors: int, length: int) -> float:
    if length == 0:
        return 0.0 if errors == 0 else float("inf")
    return errors / length
