"""Looks for what a test split must not share with training: speakers, recordings, texts."""

import hashlib
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from datasets import Dataset

from .schema import CorpusError, decode

_MAX_EXAMPLES = 10
_SKETCH_SIZE = 64
# Cosine of two sketches. Copies at another gain, rounded to 16 bits again, stay above it down to a peak of about 20
# steps; different recordings reach about 0.6.
_SAME_UP_TO_GAIN = 0.995


@dataclass(frozen=True)
class SplitAudit:
    """What an audit found. Duplicates are test items that are in training too; lists hold up to ten examples."""

    num_train: int
    num_test: int
    group_by: str
    speaker_dependent: bool
    num_test_groups: int
    num_shared_groups: int
    shared_groups: list[str]
    num_ungrouped: int
    num_duplicate_audio: int
    num_duplicate_audio_up_to_gain: int
    duplicate_audio: list[tuple[str, str]]
    num_repeated_within_test: int
    duplicate_text_fraction: float | None

    def to_dict(self) -> dict:
        """The report as values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        fraction = self.duplicate_text_fraction
        return "\n".join(
            [
                f"split audit: {self.num_train} train items, {self.num_test} test items",
                f"  {self.group_by} in both: {self.num_shared_groups} of {self.num_test_groups} in test"
                + (f" ({_listing(self.shared_groups)})" if self.shared_groups else "")
                + ("; allowed, the task is speaker-dependent" if self.speaker_dependent else ""),
                f"  items without {self.group_by}: {self.num_ungrouped}",
                f"  test recordings in train: {self.num_duplicate_audio} exact, "
                f"{self.num_duplicate_audio_up_to_gain} at another gain",
                *(f"    {test_item} = {train_item}" for test_item, train_item in self.duplicate_audio),
                f"  recordings repeated within test: {self.num_repeated_within_test}",
                "  test texts in train: " + ("no texts" if fraction is None else f"{fraction:.1%}"),
            ]
        )


class SplitLeakageError(ValueError):
    """A test split shares speakers or recordings with training; `report` holds the audit."""

    def __init__(self, message: str, report: SplitAudit):
        super().__init__(message)
        self.report = report


def audit_split(
    train: Dataset, test: Dataset, group_by: str = "speaker_id", *, speaker_dependent: bool = False
) -> SplitAudit:
    """Compare the two sides of a split and refuse leakage.

    Recordings are compared by their decoded samples, whatever their container and sample format, and whatever digital
    silence surrounds them. A copy at another gain is found when it has the same length. A lossy or resampled copy
    counts as another recording.

    Args:
        train: What a model was trained on.
        test: What it will be tested on.
        group_by: Column whose values must not occur on both sides.
        speaker_dependent: The task allows the same groups on both sides; they are reported but not refused.

    Returns:
        The report.

    Raises:
        SplitLeakageError: A recording is on both sides; or a group is, and the task is not speaker-dependent.
        CorpusError: A side is empty, lacks the column `group_by`, or holds an item without audio.
        AudioError: A recording cannot be decoded.
    """
    for side, dataset in (("train", train), ("test", test)):
        if len(dataset) == 0:
            raise CorpusError(f"`{side}` is empty; there is nothing to audit.")
        if group_by not in dataset.column_names:
            raise CorpusError(f"`group_by` is {group_by!r} but `{side}` has {', '.join(dataset.column_names)}.")
    train_groups, test_groups = train[group_by][:], test[group_by][:]
    shared_groups = sorted(str(group) for group in set(train_groups) & set(test_groups) - {None})
    train_prints, test_prints = _Fingerprints(train), _Fingerprints(test)
    exact = test_prints.exact_matches(train_prints)
    up_to_gain = test_prints.matches_up_to_gain(train_prints, skip=exact)
    pairs = [(test_prints.names[test], train_prints.names[train]) for test, train in (exact | up_to_gain).items()]
    sounding = [digest for digest in test_prints.digests if digest is not None]
    report = SplitAudit(
        num_train=len(train),
        num_test=len(test),
        group_by=group_by,
        speaker_dependent=speaker_dependent,
        num_test_groups=len(set(test_groups) - {None}),
        num_shared_groups=len(shared_groups),
        shared_groups=shared_groups[:_MAX_EXAMPLES],
        num_ungrouped=train_groups.count(None) + test_groups.count(None),
        num_duplicate_audio=len(exact),
        num_duplicate_audio_up_to_gain=len(up_to_gain),
        duplicate_audio=pairs[:_MAX_EXAMPLES],
        num_repeated_within_test=len(sounding) - len(set(sounding)),
        duplicate_text_fraction=_duplicate_text_fraction(train["text"], test["text"]),
    )
    _refuse_leakage(report)
    return report


def _refuse_leakage(report: SplitAudit) -> None:
    problems = []
    num_duplicates = report.num_duplicate_audio + report.num_duplicate_audio_up_to_gain
    if num_duplicates:
        problems.append(f"{num_duplicates} test recordings are in training too; remove them from one side")
    if report.num_shared_groups and not report.speaker_dependent:
        problems.append(
            f"{report.num_shared_groups} {report.group_by} are in training and test "
            f"({_listing(report.shared_groups)}); split by {report.group_by}, or pass speaker_dependent=True if the "
            "task is meant for known speakers"
        )
    if problems:
        raise SplitLeakageError(f"{'; '.join(problems)}.\n{report}", report)


class _Fingerprints:
    """Digests and sketches of the recordings of a dataset."""

    def __init__(self, dataset: Dataset):
        self.names = [str(name) for name in dataset["file_name"]]
        recordings = dataset.select_columns(["audio", "file_name"])
        # Threads suffice, decoders and hashes release the interpreter; an index each, so that audio never piles up.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            prints = list(pool.map(lambda index: _fingerprint(recordings[index]), range(len(recordings))))
        self.digests, self._sketches, self._lengths = zip(*prints)

    def exact_matches(self, other: "_Fingerprints") -> dict[int, int]:
        """Index here of each recording that `other` has too: index there. Silence matches nothing."""
        first = {digest: index for index, digest in reversed(list(enumerate(other.digests))) if digest is not None}
        return {index: first[digest] for index, digest in enumerate(self.digests) if digest in first}

    def matches_up_to_gain(self, other: "_Fingerprints", skip: dict[int, int]) -> dict[int, int]:
        """The same for recordings of equal length that differ by a factor, without those in `skip`."""
        others_by_length = defaultdict(list)
        for index, length in enumerate(other._lengths):
            others_by_length[length].append(index)
        mine_by_length = defaultdict(list)
        for index, length in enumerate(self._lengths):
            if index not in skip and length in others_by_length:
                mine_by_length[length].append(index)
        matches = {}
        for length, mine in mine_by_length.items():
            others = others_by_length[length]
            sketches = np.stack([other._sketches[index] for index in others])
            for index in mine:
                cosines = np.abs(sketches @ self._sketches[index])
                if cosines.max() > _SAME_UP_TO_GAIN:
                    matches[index] = others[int(cosines.argmax())]
        return matches


def _fingerprint(row: dict) -> tuple[bytes | None, np.ndarray, tuple[int, int]]:
    waveform, sampling_rate = decode(row)
    return _digest(waveform, sampling_rate), _sketch(waveform), (len(waveform), sampling_rate)


def _digest(waveform: np.ndarray, sampling_rate: int) -> bytes | None:
    """SHA-256 of the 16-bit samples between the first and the last that is not zero; None for silence."""
    samples = np.round(waveform * 32768).astype(np.int32)
    sounding = np.flatnonzero(samples)
    if len(sounding) == 0:
        return None
    samples = samples[sounding[0] : sounding[-1] + 1]
    return hashlib.sha256(f"{sampling_rate}:".encode() + samples.astype("<i4").tobytes()).digest()


def _sketch(waveform: np.ndarray) -> np.ndarray:
    """(64,) unit vector: products of 64 stretches of the waveform with one fixed noise. A gain does not change it."""
    noise = np.random.default_rng(0).standard_normal(len(waveform), dtype=np.float32)
    starts = np.linspace(0, len(waveform), _SKETCH_SIZE, endpoint=False).astype(int)
    sums = np.add.reduceat(waveform * noise, starts)
    return sums / max(float(np.linalg.norm(sums)), np.finfo(np.float32).tiny)


def _duplicate_text_fraction(train_texts, test_texts) -> float | None:
    """Share of the test items with a text whose text also occurs in training; None if no test item has one."""
    known = {_plain(text) for text in train_texts if text is not None}
    test_texts = [_plain(text) for text in test_texts if text is not None]
    return sum(text in known for text in test_texts) / len(test_texts) if test_texts else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _listing(names: list[str]) -> str:
    return ", ".join(names) + (", ..." if len(names) == _MAX_EXAMPLES else "")
