"""How much of real time recognisers take, one clip at a time, taking turns on the same clips."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from antiphon.eval.recognition_contestants import Contestant
from antiphon.eval.speed_rounds import interleaved


def measure_speed(
    contestants: Mapping[str, Contestant], waveforms: Sequence[np.ndarray], sampling_rate: int, rounds: int
) -> dict[str, dict]:
    """Time contestants on the same clips, each round all clips and every contestant in turn.

    Args:
        contestants: the first one is what the others are compared with.
        waveforms: each (samples,).
        sampling_rate: of the waveforms, in Hz.
        rounds: that count.

    Returns:
        For each its `real_time_factor`, from waveform to text, the median over the rounds with the range of their
        middle half in `real_time_factor_range`; the `model_real_time_factor` from features to scores; `ratio`, how
        many times as long as the first one it takes, the median of the ratios within each round.
    """
    seconds = sum(map(len, waveforms)) / sampling_rate
    prepared = {name: [each.prepare(waveform) for waveform in waveforms] for name, each in contestants.items()}
    whole = {name: lambda each=each: list(map(each.transcribe, waveforms)) for name, each in contestants.items()}
    model = {
        f"{name}, model": lambda name=name, each=each: [each.run(inputs) for inputs in prepared[name]]
        for name, each in contestants.items()
    }
    times = interleaved(whole | model, rounds)
    first = times[next(iter(contestants))]
    rows = {}
    for name in contestants:
        low, high = np.quantile(times[name], (0.25, 0.75)) / seconds
        rows[name] = {
            "real_time_factor": statistics.median(times[name]) / seconds,
            "real_time_factor_range": [float(low), float(high)],
            "model_real_time_factor": statistics.median(times[f"{name}, model"]) / seconds,
            "ratio": statistics.median(own / other for own, other in zip(times[name], first)),
        }
    return rows
