"""Compares a submission with the rows that a leaderboard has already, item by item, so that ranks rest on pairs."""

import io
import json
from collections.abc import Sequence

import pandas as pd

from antiphon.eval.comparison import System, compare_systems
from antiphon.eval.leaderboard_places import PendingPlace
from antiphon.eval.submission import SubmissionError, agree

# What a system may choose; only rows that chose alike are ranked together.
FREE_CONDITIONS = ("sampling_rate", "resample", "decoding")
KEPT = ("reference", "metric", "value", "low", "high", "p_value", "verdict", "sentence", "num_groups")


def read_rivals(place: PendingPlace, system: System) -> list[System]:
    """Read the rows of a leaderboard that are ranked with a system: same benchmark, conditions and metric."""
    conditions, rivals = system.row["conditions"], []
    for path in place.rows(system.row["benchmark"]):
        row = json.loads(place.read(path))
        is_alike = all(row["conditions"].get(name) == conditions.get(name) for name in FREE_CONDITIONS)
        if is_alike and row["checkpoint_sha256"] != system.row["checkpoint_sha256"]:
            stem = path.removesuffix(".json")
            items = pd.read_parquet(io.BytesIO(place.read(f"{stem}_items.parquet")))
            rivals.append(System(stem.rpartition("/")[2], row, items))
    return rivals


def compare_with_rivals(system: System, rivals: Sequence[System]) -> list[dict]:
    """Compare a system with each rival on the metric that decides.

    Returns:
        For each rival its comparison as `compare_systems` returns it, shortened, with `reference_checkpoint_sha256`.
    """
    comparisons = []
    for rival in rivals:
        # Versions of packages may differ: the counts of both were computed anew on submission.
        [comparison] = compare_systems([rival, system], mix_conditions=True)
        kept = {name: comparison[name] for name in KEPT}
        comparisons.append(kept | {"reference_checkpoint_sha256": rival.row["checkpoint_sha256"]})
    return comparisons


def check_comparisons(source: str, claimed: Sequence[dict], computed: Sequence[dict]) -> None:
    """Hold comparisons that a row came with against those computed anew; of rows that are gone nothing is asked.

    Raises:
        SubmissionError: an interval that the items of both systems do not yield.
    """
    known = {comparison["reference_checkpoint_sha256"]: comparison for comparison in computed}
    for comparison in claimed:
        expected = known.get(comparison["reference_checkpoint_sha256"], comparison)
        if not all(agree(expected[end], comparison[end]) for end in ("value", "low", "high")):
            raise SubmissionError(
                source,
                [f"its comparison with {expected['reference']!r} is not what the items of both yield; submit it again"],
            )
