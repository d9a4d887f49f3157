"""Looks for what a test split must not share with training: speakers, recordings, texts, and labels that leak."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from datasets import Dataset

from .fingerprints import LandmarkIndex, Landmarks, comparable, find_landmarks, is_copy
from .leakage_probe import LeakageProbe, file_features, leakage_probe, levels
from .schema import CorpusError, decode

_MAX_EXAMPLES = 10


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
    num_near_duplicate_audio: int
    near_duplicates_allowed: bool
    duplicate_audio: list[tuple[str, str]]
    num_repeated_within_test: int
    duplicate_text_fraction: float | None
    leakage: list[LeakageProbe]

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
                f"{self.num_near_duplicate_audio} in another encoding, gain or cut"
                + ("; these are allowed" if self.near_duplicates_allowed else ""),
                *(f"    {test_item} = {train_item}" for test_item, train_item in self.duplicate_audio),
                f"  recordings repeated within test: {self.num_repeated_within_test}",
                "  test texts in train: " + ("no texts" if fraction is None else f"{fraction:.1%}"),
                *(f"  {probe}" for probe in self.leakage),
            ]
        )


class SplitLeakageError(ValueError):
    """A test split shares speakers or recordings with training; `report` holds the audit."""

    def __init__(self, message: str, report: SplitAudit):
        super().__init__(message)
        self.report = report


def audit_split(
    train: Dataset,
    test: Dataset,
    group_by: str = "speaker_id",
    *,
    label: str = "text",
    speaker_dependent: bool = False,
    allow_near_duplicates: bool = False,
) -> SplitAudit:
    """Compare the two sides of a split and refuse leakage.

    Recordings are compared by their decoded samples, whatever their container and sample format, and whatever digital
    silence surrounds them; then by fingerprint, which also finds copies that were re-encoded, resampled, cut or brought
    to another gain (`fingerprints.is_copy` says how far).

    Args:
        train: What a model was trained on.
        test: What it will be tested on.
        group_by: Column whose values must not occur on both sides.
        label: Column that a model will predict; see `leakage_probe`. What the probe finds is reported, not refused.
        speaker_dependent: The task allows the same groups on both sides; they are reported but not refused.
        allow_near_duplicates: Copies that only the fingerprint finds are reported but not refused.

    Returns:
        The report.

    Raises:
        SplitLeakageError: A recording is on both sides; or a group is, and the task is not speaker-dependent.
        CorpusError: A side is empty, lacks the column `group_by` or `label`, or holds an item without audio.
        AudioError: A recording cannot be decoded.
    """
    _check_sides(train, test, group_by)
    train_groups, test_groups = train[group_by][:], test[group_by][:]
    shared_groups = sorted(str(group) for group in set(train_groups) & set(test_groups) - {None})
    train_sounds, test_sounds = _examine(train), _examine(test)
    exact = _exact_copies(train_sounds, test_sounds)
    near = _near_copies(train, train_sounds, test, test_sounds, skip=exact)
    names = [[str(name) for name in dataset["file_name"]] for dataset in (test, train)]
    digests = [sound.digest for sound in test_sounds if sound.digest is not None]
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
        num_near_duplicate_audio=len(near),
        near_duplicates_allowed=allow_near_duplicates,
        duplicate_audio=[(names[0][mine], names[1][its]) for mine, its in (exact | near).items()][:_MAX_EXAMPLES],
        num_repeated_within_test=len(digests) - len(set(digests)),
        duplicate_text_fraction=_duplicate_text_fraction(train["text"], test["text"]),
        leakage=leakage_probe(
            train,
            test,
            label=label,
            group_by=group_by,
            features=(file_features(train) | _levels(train_sounds), file_features(test) | _levels(test_sounds)),
        ),
    )
    _refuse_leakage(report)
    return report


def _check_sides(train: Dataset, test: Dataset, group_by: str) -> None:
    for side, dataset in (("train", train), ("test", test)):
        if len(dataset) == 0:
            raise CorpusError(f"`{side}` is empty; there is nothing to audit.")
        if group_by not in dataset.column_names:
            raise CorpusError(f"`group_by` is {group_by!r} but `{side}` has {', '.join(dataset.column_names)}.")


def _refuse_leakage(report: SplitAudit) -> None:
    problems = []
    if report.num_duplicate_audio:
        problems.append(f"{report.num_duplicate_audio} test recordings are in training too; remove them from one side")
    if report.num_near_duplicate_audio and not report.near_duplicates_allowed:
        problems.append(
            f"{report.num_near_duplicate_audio} test recordings are in training in another encoding, gain or cut; "
            "listen to the pairs below and remove them from one side, or pass allow_near_duplicates=True"
        )
    if report.num_shared_groups and not report.speaker_dependent:
        problems.append(
            f"{report.num_shared_groups} {report.group_by} are in training and test "
            f"({_listing(report.shared_groups)}); split by {report.group_by}, or pass speaker_dependent=True if the "
            "task is meant for known speakers"
        )
    if problems:
        raise SplitLeakageError(f"{'; '.join(problems)}.\n{report}", report)


@dataclass(frozen=True)
class _Sound:
    """What is kept of a recording: far less than its samples."""

    digest: bytes | None
    landmarks: Landmarks
    peak_level: float
    mean_level: float


def _examine(dataset: Dataset) -> list[_Sound]:
    recordings = dataset.select_columns(["audio", "file_name"])

    def examine(index: int) -> _Sound:
        waveform, sampling_rate = decode(recordings[index])
        landmarks = find_landmarks(comparable(waveform, sampling_rate))
        return _Sound(_digest(waveform, sampling_rate), landmarks, *levels(waveform))

    # Threads suffice, decoders and transforms release the interpreter; an index each, so that audio never piles up.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(examine, range(len(recordings))))


def _levels(sounds: Sequence[_Sound]) -> dict[str, list[float]]:
    return {
        "peak level": [sound.peak_level for sound in sounds],
        "mean level": [sound.mean_level for sound in sounds],
    }


def _exact_copies(train: Sequence[_Sound], test: Sequence[_Sound]) -> dict[int, int]:
    """Index of each test recording that training has too: index there. Silence matches nothing."""
    first = {sound.digest: index for index, sound in reversed(list(enumerate(train))) if sound.digest is not None}
    return {index: first[sound.digest] for index, sound in enumerate(test) if sound.digest in first}


def _near_copies(
    train: Dataset, train_sounds: Sequence[_Sound], test: Dataset, test_sounds: Sequence[_Sound], skip: dict[int, int]
) -> dict[int, int]:
    """The same for copies that only a fingerprint finds, without those in `skip`."""
    index = LandmarkIndex([sound.landmarks for sound in train_sounds])

    def find(item: int) -> int | None:
        candidates = index.candidates(test_sounds[item].landmarks)
        # Candidates are decoded once more: keeping all waveforms would fill the memory.
        waveform = comparable(*decode(test[item])) if candidates else None
        copies = (its for its, offset in candidates if is_copy(comparable(*decode(train[its])), waveform, offset))
        return next(copies, None)

    remaining = [item for item in range(len(test)) if item not in skip]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {item: copy for item, copy in zip(remaining, pool.map(find, remaining)) if copy is not None}


def _digest(waveform: np.ndarray, sampling_rate: int) -> bytes | None:
    """SHA-256 of the 16-bit samples between the first and the last that is not zero; None for silence."""
    samples = np.round(waveform * 32768).astype(np.int32)
    sounding = np.flatnonzero(samples)
    if len(sounding) == 0:
        return None
    samples = samples[sounding[0] : sounding[-1] + 1]
    return hashlib.sha256(f"{sampling_rate}:".encode() + samples.astype("<i4").tobytes()).digest()


def _duplicate_text_fraction(train_texts, test_texts) -> float | None:
    """Share of the test items with a text whose text also occurs in training; None if no test item has one."""
    known = {_plain(text) for text in train_texts if text is not None}
    test_texts = [_plain(text) for text in test_texts if text is not None]
    return sum(text in known for text in test_texts) / len(test_texts) if test_texts else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _listing(names: list[str]) -> str:
    return ", ".join(names) + (", ..." if len(names) == _MAX_EXAMPLES else "")
