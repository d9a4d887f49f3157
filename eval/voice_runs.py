"""Let several systems make the same conversions, time them, judge what comes out and keep it to be listened to."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from antiphon.eval.baselines import BASELINES, UPPER_BOUND
from antiphon.eval.conditions import records_sha256
from antiphon.eval.voice_items import Conversion, Conversions
from antiphon.eval.voice_judges import SAMPLING_RATE
from antiphon.eval.voice_measures import ConversionJudge, Judges
from antiphon.eval.voice_systems import VoiceSystem
from antiphon.processing.audio_io import write_audio

SOURCE, REFERENCE, SYSTEM = "source", "reference", "system"


@dataclass(frozen=True)
class VoiceRun:
    """What systems made and how it was judged.

    Args:
        items: the item table, without counts of errors.
        inputs_sha256: over all sources and references.
        outputs_sha256: over all that the system made.
        speed: of the system: `real_time_factor` and `audio_seconds`.
    """

    items: pd.DataFrame
    inputs_sha256: str
    outputs_sha256: str
    speed: dict


def run_systems(
    systems: Mapping[str, VoiceSystem], conversions: Conversions, judges: Judges, audio: str | Path | None = None
) -> VoiceRun:
    """Convert and judge.

    Args:
        systems: by the prefix of their columns: "" for the one that is measured, the name of a baseline and a dot.
        conversions: to be made.
        judges: who judges.
        audio: folder to keep every recording in, by item and system; see `audio_path`.

    Raises:
        ValueError: an output is not as long as its source, or not finite.
    """
    records, inputs, outputs, seconds = [], [], [], 0.0
    _ = _convert(systems[""], conversions[0], "")  # the first call sets up threads and kernels
    for index, conversion in enumerate(tqdm(conversions, desc="converting", unit="pair", disable=None)):
        judge = ConversionJudge(conversion, judges)
        record = {"item_id": conversion.item_id, **conversion.facts}
        recordings = {SOURCE: conversion.source, REFERENCE: conversion.reference}
        for prefix, system in systems.items():
            start = time.perf_counter()
            waveform = _convert(system, conversion, prefix)
            seconds += 0.0 if prefix else time.perf_counter() - start
            columns = judge.measure(waveform, is_target=_is_target(prefix))
            record |= {f"{prefix}{name}": value for name, value in columns.items()}
            if waveform is not None:
                recordings[prefix.removesuffix(".") or SYSTEM] = waveform
        if audio is not None:
            _keep(recordings, Path(audio), index)
        inputs.append((conversion.item_id, conversion.source.tobytes(), conversion.reference.tobytes()))
        outputs.append((conversion.item_id, recordings[SYSTEM].tobytes()))
        records.append(record)
    audio_seconds = sum(record["duration_seconds"] for record in records)
    speed = {"real_time_factor": seconds / audio_seconds, "audio_seconds": audio_seconds}
    return VoiceRun(pd.DataFrame(records), records_sha256(inputs), records_sha256(outputs), speed)


def audio_path(folder: Path, index: int, name: str) -> Path:
    """Return where a recording is kept.

    Args:
        folder: of all recordings.
        index: of the item, in the order of the table.
        name: `SOURCE`, `REFERENCE`, `SYSTEM` or that of a baseline.
    """
    return folder / f"{index:04d}_{name}.flac"


def _is_target(prefix: str) -> bool:
    return bool(prefix) and BASELINES[prefix.removesuffix(".")].kind == UPPER_BOUND


def _convert(system: VoiceSystem, conversion: Conversion, prefix: str) -> np.ndarray | None:
    """What a system makes of a conversion; an upper bound hears the target itself, or has nothing to work on."""
    if _is_target(prefix):
        return None if conversion.target is None else system.convert(conversion.source, conversion.target)
    waveform = np.asarray(system.convert(conversion.source, conversion.reference), dtype=np.float32)
    if waveform.shape != conversion.source.shape or not np.isfinite(waveform).all():
        raise ValueError(
            f"{prefix.removesuffix('.') or 'the system'} made {waveform.shape} samples of {conversion.item_id!r}, "
            f"{np.sum(~np.isfinite(waveform))} of them not finite; expected {conversion.source.shape} finite ones."
        )
    return waveform


def _keep(recordings: Mapping[str, np.ndarray], folder: Path, index: int) -> None:
    """Write recordings as they are played: clipped to full scale."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, waveform in recordings.items():
        write_audio(audio_path(folder, index, name), np.clip(waveform, -1, 1), SAMPLING_RATE)
