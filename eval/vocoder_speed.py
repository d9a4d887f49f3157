"""How long a vocoder takes, beside those of transformers at their default sizes; weights do not matter for that."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig, UnivNetConfig, UnivNetModel

from antiphon.eval.benchmark_speed import speech_like
from antiphon.eval.speed_rounds import interleaved, summarize
from antiphon.processing.feature_extraction_log_mel import LogMelFeatureExtractor

SECONDS = 5.0
OURS = "VocoderModel"


def measure_speed(vocoder: torch.nn.Module, extractor: LogMelFeatureExtractor, rounds: int = 5) -> dict[str, dict]:
    """Time each vocoder on the same length of audio, one after the other in every round.

    Args:
        vocoder: a `VocoderModel` in evaluation mode.
        extractor: of its features.
        rounds: that count.

    Returns:
        For each its median `seconds` for five seconds of audio at its own sampling rate, `real_time_factor`,
        `parameters`, and, for the others, the `ratio` to ours.
    """
    waveform = speech_like(SECONDS, np.random.default_rng(0))
    features = extractor(waveform, return_tensors="pt")["input_features"]
    hifigan, univnet = SpeechT5HifiGan(SpeechT5HifiGanConfig()).eval(), UnivNetModel(UnivNetConfig()).eval()
    models = {OURS: vocoder, "SpeechT5HifiGan": hifigan, "UnivNetModel": univnet}
    tasks: dict[str, Callable[[], object]] = {
        OURS: lambda: vocoder(features).waveform,
        "SpeechT5HifiGan": _task(hifigan, hifigan.config.model_in_dim, hifigan.config.sampling_rate),
        # Its configuration does not state the rate that its features and its defaults are made for.
        "UnivNetModel": _task(univnet, univnet.config.num_mel_bins, 24_000),
    }
    with torch.inference_mode():
        rows = summarize(interleaved(tasks, rounds), OURS)
    for name, row in rows.items():
        row["real_time_factor"] = row["seconds"] / SECONDS
        row["parameters"] = sum(parameter.numel() for parameter in models[name].parameters())
    return rows


def _task(model: torch.nn.Module, bands: int, sampling_rate: int, hop_length: int = 256) -> Callable[[], object]:
    """Five seconds through a vocoder whose features are 256 samples apart, as both of these expect."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, round(SECONDS * sampling_rate / hop_length), bands, generator=generator)
    return lambda: model(features)
