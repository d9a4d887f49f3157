"""The conversions of a benchmark: what is to be said by whom, and the recordings that the result is held against."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from datasets import Dataset

from antiphon.eval.voice_judges import SAMPLING_RATE, normalize_text
from antiphon.processing.corpora import decode
from antiphon.processing.corpora.augmentation import generate_noise

NOISE_SLOPE_DB = -3.0  # pink
RECOGNISED_LANGUAGE = "en"
MAX_VOICE_CLIPS = 3
# EmoDB marks the emotion of an utterance in its name: speaker, sentence, emotion, version.
EMOTIONAL = re.compile(r"^\d\d[ab]\d\d[A-MO-Z][a-z]$")


@dataclass(frozen=True)
class Conversion:
    """One conversion to be made and judged; all waveforms are (samples,) float32 at 16 kHz.

    Args:
        item_id: distinct name.
        facts: what the item table says of it: scenario, label, speakers, reference_seconds, reference_snr_db, reference
            (the words, normalised; empty where no recogniser here knows the language), duration_seconds, pair (the same
            under all conditions), condition and voice_is_reference.
        source: what is said.
        reference: what a system is given of the target's voice.
        voice: recordings of the target that no system is given in any conversion of the list, the same for each of its
            conversions; the clean reference where there is none.
        target: one more of the target for upper bounds, the same words where the target said them; None if there is
            none.
        parallel: the source's words, said by the target; None if nobody recorded that.
    """

    item_id: str
    facts: dict
    source: np.ndarray
    reference: np.ndarray
    voice: Sequence[np.ndarray]
    target: np.ndarray | None
    parallel: np.ndarray | None


class Conversions(Sequence):
    """The conversions of a list of pairs, decoded when they are asked for.

    Args:
        pairs: as `load_conversion_pairs` returns them.
        voices: recordings that the pairs name, as `load_voices` returns them.
        listed: the whole list that the pairs are of, so that a voice is judged by the same recordings whichever pairs
            are chosen; the pairs if None.
    """

    def __init__(self, pairs: pd.DataFrame, voices: Dataset, listed: pd.DataFrame | None = None):
        self.pairs, self._voices = pairs, voices
        self._given = _given_utterances(pairs if listed is None else listed)
        self._place = {name: place for place, name in enumerate(voices["file_name"][:])}
        self._of_speaker: dict[str, list[str]] = {}
        for name, speaker in zip(self._place, voices["speaker_id"][:]):
            self._of_speaker.setdefault(speaker, []).append(name)
        self.licenses = sorted(set(voices["license"][:]))
        self.item_ids = [_item_id(pair) for pair in pairs.to_dict("records")]
        # 200 recordings of 5 s are 64 MB.
        self.recording = lru_cache(maxsize=200)(self._decode)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Conversion:
        pair = self.pairs.iloc[index].to_dict()
        source = self.recording(pair["source_file"])
        clean = self.clean_reference(pair)
        voice, target = self._other_recordings(pair)
        parallel = None if pd.isna(pair["parallel_file"]) else self.recording(pair["parallel_file"])
        text = pair["text"] if pair["language"] == RECOGNISED_LANGUAGE and not pd.isna(pair["text"]) else ""
        facts = {
            **{name: pair[name] for name in ("scenario", "source_speaker", "target_speaker", "reference_seconds")},
            "reference_snr_db": pair["reference_snr_db"],
            "label": None if pd.isna(pair["label"]) else pair["label"],
            "reference": normalize_text(text),
            "voice_is_reference": not voice,
            "duration_seconds": len(source) / SAMPLING_RATE,
            "pair": f"{pair['source_file']} to {pair['target_speaker']}",
            "condition": _condition(pair),
        }
        return Conversion(
            self.item_ids[index],
            facts,
            source,
            add_noise(clean, pair["reference_snr_db"], seed=self.item_ids[index]),
            [self.recording(name) for name in voice] or [clean],
            None if target is None else self.recording(target),
            parallel,
        )

    def __iter__(self) -> Iterator[Conversion]:
        return (self[index] for index in range(len(self)))

    @property
    def num_held_out(self) -> int:
        """How many have a recording of the target that no system is given."""
        return sum(bool(self._other_recordings(pair)[0]) for pair in self.pairs.to_dict("records"))

    def clean_reference(self, pair: dict) -> np.ndarray:
        """Join the reference's recordings and cut them to the length that the pair says."""
        joined = np.concatenate([self.recording(name) for name in pair["reference_files"]])
        return joined[: round(pair["reference_seconds"] * SAMPLING_RATE)]

    def _other_recordings(self, pair: dict) -> tuple[list[str], str | None]:
        """Names of what the target's voice is judged by, neutral ones first, and of one recording more."""
        speaker = pair["target_speaker"]
        others = [name for name in self._of_speaker[speaker] if _utterance(name) not in self._given[speaker]]
        others.sort(key=lambda name: (EMOTIONAL.match(_utterance(name)) is not None, name))
        voice, spare = (others[:-1], others[-1]) if len(others) > 1 else (others, None)
        return voice[:MAX_VOICE_CLIPS], spare if pd.isna(pair["parallel_file"]) else pair["parallel_file"]

    def _decode(self, name: str) -> np.ndarray:
        waveform, _ = decode(self._voices[self._place[name]], SAMPLING_RATE)
        return waveform


def add_noise(waveform: np.ndarray, snr_db: float, *, seed: str) -> np.ndarray:
    """Mix pink noise into a recording at a ratio to its mean power; unchanged where the ratio is NaN.

    Args:
        waveform: (samples,).
        snr_db: signal to noise.
        seed: any text.
    """
    if np.isnan(snr_db):
        return waveform
    generator = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
    noise = generate_noise(len(waveform), NOISE_SLOPE_DB, generator)
    gain = np.sqrt(np.mean(waveform**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (waveform + gain * noise).astype(np.float32)


def _given_utterances(pairs: pd.DataFrame) -> dict[str, set[str]]:
    """What any system is given or measured on of each target: references and parallel recordings."""
    given: dict[str, set[str]] = {}
    for pair in pairs.to_dict("records"):
        parallel = [] if pd.isna(pair["parallel_file"]) else [pair["parallel_file"]]
        names = map(_utterance, [*pair["reference_files"], *parallel])
        given.setdefault(pair["target_speaker"], set()).update(names)
    return given


def _utterance(file_name: str) -> str:
    """What two corpora that hold the same recording have in common."""
    return PurePosixPath(file_name).stem


def _condition(pair: dict) -> str:
    """Language of the source, length of the reference and noise in it."""
    return f"{pair['language']}, {_reference_condition(pair)}"


def _reference_condition(pair: dict) -> str:
    noise = "" if pd.isna(pair["reference_snr_db"]) else f" at {pair['reference_snr_db']:g} dB"
    return f"{pair['reference_seconds']:g} s{noise}"


def _item_id(pair: dict) -> str:
    return f"{pair['scenario']}: {pair['source_file']} to {pair['target_speaker']} from {_reference_condition(pair)}"
