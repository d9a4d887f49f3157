"""Let several systems make the same conversions, time them, judge what comes out and keep it to be listened to."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from antiphon.eval.baselines import BASELINES, UPPER_BOUND
from antiphon.eval.conditions import records_sha256
from antiphon.eval.result_rows import write_atomically
from antiphon.eval.voice_items import Conversion, Conversions
from antiphon.eval.voice_judges import SAMPLING_RATE
from antiphon.eval.voice_measures import ConversionJudge
from antiphon.eval.voice_panel import Judges
from antiphon.eval.voice_systems import VoiceSystem
from antiphon.processing.audio_io import write_audio

SOURCE, REFERENCE, SYSTEM = "source", "reference", "system"
MANIFEST = "manifest.json"
FULL_SCALE = 1.0
TRAINED_AGAINST_COLUMNS = {"own_speaker": "own_trained_against", "second_recogniser": "second_trained_against"}


@dataclass(frozen=True)
class VoiceRun:
    """What systems made and how it was judged.

    Args:
        items: the item table, without counts of errors.
        inputs_sha256: over all sources, references and recordings that are judged against.
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
    """Convert and judge; what exceeds full scale is clipped for all judges, as by a player.

    A conversion that fails does not end the run: with an exception, a wrong length or samples that are not finite it
    becomes silence, in the table `failed` with the message in `failure`.

    Args:
        systems: by the prefix of their columns: "" for the one that is measured, the name of a baseline and a dot.
        conversions: to be made.
        judges: who judges.
        audio: folder to keep every recording in, by item and system; see `audio_path` and `check_recordings`.
    """
    records, inputs, outputs, seconds = [], [], [], 0.0
    if audio is not None:
        (Path(audio) / MANIFEST).unlink(missing_ok=True)
    _ = _output(systems[""], conversions[0], "")  # the first call sets up threads and kernels
    for index, conversion in enumerate(tqdm(conversions, desc="converting", unit="pair", disable=None)):
        judge = ConversionJudge(conversion, judges)
        record = {"item_id": conversion.item_id, **conversion.facts}
        record |= {TRAINED_AGAINST_COLUMNS[role]: True for role in judges.trained_against}
        recordings = {SOURCE: conversion.source, REFERENCE: conversion.reference}
        for prefix, system in systems.items():
            start = time.perf_counter()
            waveform, failure = _output(system, conversion, prefix)
            seconds += 0.0 if prefix else time.perf_counter() - start
            clipped = waveform is not None and bool(np.abs(waveform).max(initial=0.0) > FULL_SCALE)
            if clipped:
                waveform = waveform.clip(-FULL_SCALE, FULL_SCALE)
            columns = judge.measure(waveform, is_target=_is_target(prefix))
            columns |= {"failed": int(failure is not None), "failure": failure, "clipped": int(clipped)}
            record |= {f"{prefix}{name}": value for name, value in columns.items()}
            if waveform is not None:
                recordings[prefix.removesuffix(".") or SYSTEM] = waveform
        if audio is not None:
            _keep(recordings, Path(audio), index)
        inputs.append((conversion.item_id, *(sound.tobytes() for sound in _inputs(conversion))))
        outputs.append((conversion.item_id, recordings[SYSTEM].tobytes()))
        records.append(record)
    audio_seconds = sum(record["duration_seconds"] for record in records)
    speed = {"real_time_factor": seconds / audio_seconds, "audio_seconds": audio_seconds}
    run = VoiceRun(pd.DataFrame(records), records_sha256(inputs), records_sha256(outputs), speed)
    if audio is not None:
        manifest = {"outputs_sha256": run.outputs_sha256, "item_ids": run.items["item_id"].tolist()}
        write_atomically(Path(audio) / MANIFEST, lambda file: file.write(json.dumps(manifest, indent=1).encode()))
    return run


def audio_path(folder: Path, index: int, name: str) -> Path:
    """Return where a recording is kept.

    Args:
        folder: of all recordings.
        index: of the item, in the order of the table.
        name: `SOURCE`, `REFERENCE`, `SYSTEM` or that of a baseline.
    """
    return folder / f"{index:04d}_{name}.flac"


def check_recordings(folder: Path, row: Mapping, items: pd.DataFrame) -> None:
    """See that a folder holds the recordings that a row was measured on.

    Raises:
        ValueError: it holds those of another run, or of one that did not end.
    """
    path = folder / MANIFEST
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    expected = {"outputs_sha256": row["conditions"].get("outputs_sha256"), "item_ids": items["item_id"].tolist()}
    if manifest != expected:
        raise ValueError(
            f"{path} {'tells of another run' if manifest else 'is missing'}; expected that of the run whose outputs "
            f"have the digest {expected['outputs_sha256']}. Name the folder that this row was measured with, or "
            "measure again with --audio."
        )


def _inputs(conversion: Conversion) -> list[np.ndarray]:
    """All that an answer depends on, whoever gives it."""
    nothing = np.zeros(0, np.float32)
    further = [nothing if sound is None else sound for sound in (conversion.target, conversion.parallel)]
    return [conversion.source, conversion.reference, *further, *conversion.voice]


def _is_target(prefix: str) -> bool:
    return bool(prefix) and BASELINES[prefix.removesuffix(".")].kind == UPPER_BOUND


def _output(system: VoiceSystem, conversion: Conversion, prefix: str) -> tuple[np.ndarray | None, str | None]:
    """What a system makes of a conversion, and why it failed, where it is silence for that.

    An upper bound hears the target itself, or has nothing to work on.
    """
    given = conversion.target if _is_target(prefix) else conversion.reference
    if given is None:
        return None, None
    expected = given.shape if _is_target(prefix) else conversion.source.shape
    try:
        waveform = np.asarray(system.convert(conversion.source, given), dtype=np.float32)
    except Exception as error:  # whatever goes wrong in a system is a result of it
        return np.zeros(expected, np.float32), f"{type(error).__name__}: {error}"
    if waveform.shape != expected or not np.isfinite(waveform).all():
        failure = (
            f"made {waveform.shape} samples, {np.sum(~np.isfinite(waveform))} of them not finite; "
            f"expected {expected} finite ones"
        )
        return np.zeros(expected, np.float32), failure
    return waveform, None


def _keep(recordings: Mapping[str, np.ndarray], folder: Path, index: int) -> None:
    """Write recordings as they are played: the noisy reference too within full scale."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, waveform in recordings.items():
        write_audio(audio_path(folder, index, name), np.clip(waveform, -1, 1), SAMPLING_RATE)
