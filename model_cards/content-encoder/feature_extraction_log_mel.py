"""Log-mel spectrograms: waveform in, normalised features out, for a batch at once or for a stream chunk by chunk."""

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.audio_utils import mel_filter_bank

# Frames transformed together. A block of this size stays in the cache of one core, which is why working in blocks is
# several times as fast as one large `torch.stft`.
BLOCK_FRAMES = 1024


class LogMelFeatureExtractor(SequenceFeatureExtractor):
    """Turns waveforms into log-mel features.

    Frame t is centred on sample t * hop_length, and zeros surround the signal. So an utterance of n samples has
    1 + n // hop_length frames, the same alone, in a padded batch, or from a stream.

    Args:
        feature_size: Number of mel bands.
        sampling_rate: Samples per second of the waveforms, in Hz.
        hop_length: Samples from one frame to the next.
        win_length: Samples under the Hann window.
        n_fft: Samples of the Fourier transform, even and at least `win_length`; the window is zero-padded to it.
        min_frequency, max_frequency: Range of the bands in Hz; None for the upper end means half the sampling rate.
        mel_floor: Smallest mel power before the natural logarithm.
        normalize: "utterance" (each band of each item to mean 0 and variance 1 over its real frames), "global" (by
            `mean` and `standard_deviation`, from `fit`) or "none".
        mean, standard_deviation: One number per band, for `normalize="global"`.
        do_normalize: Whether each waveform is first brought to mean 0 and variance 1, so that loudness does not matter.
        padding_value: Value of padded frames.

    Source: The mel scale and area normalisation of Slaney's Auditory Toolbox, as in librosa and Whisper.
    """

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16_000,
        hop_length: int = 160,
        win_length: int = 400,
        n_fft: int = 512,
        min_frequency: float = 0.0,
        max_frequency: float | None = None,
        mel_floor: float = 1e-8,
        normalize: str = "utterance",
        mean: list[float] | None = None,
        standard_deviation: list[float] | None = None,
        do_normalize: bool = False,
        padding_value: float = 0.0,
        **kwargs,
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.hop_length = hop_length
        self.win_length = win_length
        self.n_fft = n_fft
        self.min_frequency = min_frequency
        self.max_frequency = max_frequency
        self.mel_floor = mel_floor
        self.normalize = normalize
        self.mean = mean
        self.standard_deviation = standard_deviation
        self.do_normalize = do_normalize
        self._validate()
        margin = (n_fft - win_length) // 2
        window = torch.hann_window(win_length)
        # `window` and `mel_filters` are names that the base class leaves out of the saved configuration.
        self.window = torch.nn.functional.pad(window, (margin, n_fft - win_length - margin))
        self.mel_filters = self._make_mel_filters()

    def _validate(self):
        if self.n_fft % 2 or self.n_fft < self.win_length:
            raise ValueError(
                f"`n_fft` is {self.n_fft} but must be even and at least `win_length` ({self.win_length}); "
                f"choose {self.win_length + self.win_length % 2}."
            )
        if not 1 <= self.hop_length <= self.n_fft:
            raise ValueError(
                f"`hop_length` is {self.hop_length} but must lie between 1 and `n_fft` ({self.n_fft}), or samples "
                "between two frames are never seen."
            )
        if self.normalize not in ("utterance", "global", "none"):
            raise ValueError(f"`normalize` is {self.normalize!r} but must be 'utterance', 'global' or 'none'.")
        for name in ("mean", "standard_deviation"):
            values = getattr(self, name)
            if values is not None and len(values) != self.feature_size:
                raise ValueError(f"`{name}` has {len(values)} numbers but `feature_size` is {self.feature_size}.")

    def _make_mel_filters(self) -> torch.Tensor:
        filters = mel_filter_bank(
            num_frequency_bins=1 + self.n_fft // 2,
            num_mel_filters=self.feature_size,
            min_frequency=self.min_frequency,
            max_frequency=self.max_frequency or self.sampling_rate / 2,
            sampling_rate=self.sampling_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        if not filters.any(axis=0).all():
            raise ValueError(
                f"`feature_size` is {self.feature_size}, which leaves mel bands without any frequency of an "
                f"{self.n_fft}-point transform; use fewer bands or a longer `n_fft`."
            )
        return torch.from_numpy(filters).float()

    def __call__(
        self,
        raw_speech: np.ndarray | torch.Tensor | list,
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        **kwargs,
    ) -> BatchFeature:
        """Computes the features of one waveform or of a batch.

        Args:
            raw_speech: One mono waveform (samples,), or a list (or 2-d array) of them; float, in [-1, 1].
            sampling_rate: Rate of the waveforms in Hz; checked against the extractor's.
            padding: Pad to the longest item. False needs items of equal length, or no `return_tensors`.
            return_tensors: "pt" or "np".
            return_attention_mask: Whether to return the mask; default is the extractor's own setting.

        Returns:
            `input_features` (batch, frames, feature_size), float32, and `attention_mask` (batch, frames), int64.

        Raises:
            ValueError: another sampling rate, no samples, more than one channel, or NaN or infinity in the input.
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(
                f"`sampling_rate` is {sampling_rate} but this extractor expects {self.sampling_rate} Hz; resample "
                "first, e.g. with `processing.audio_io.resample_audio`."
            )
        waveforms = self._as_waveforms(raw_speech)
        lengths = [1 + len(waveform) // self.hop_length for waveform in waveforms]
        batch = torch.zeros(len(waveforms), max(map(len, waveforms)) + self.n_fft)
        for padded, waveform in zip(batch[:, self.n_fft // 2 :], waveforms):
            padded[: len(waveform)] = waveform
        features = self.log_mel(batch)
        # Item by item, each stays in the cache; whole-batch operations would pass through memory several times.
        for item, length in zip(features, lengths):
            self._normalize(item[:length])
            item[length:] = self.padding_value
        if padding in (False, "do_not_pad"):
            outputs = {"input_features": [item[:length].numpy() for item, length in zip(features, lengths)]}
        else:
            outputs = {"input_features": features}
            if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
                outputs["attention_mask"] = (torch.arange(features.shape[1]) < torch.tensor(lengths)[:, None]).long()
            if return_tensors != "pt":
                outputs = {name: tensor.numpy() for name, tensor in outputs.items()}
        return BatchFeature(outputs, tensor_type=return_tensors)

    def _as_waveforms(self, raw_speech) -> list[torch.Tensor]:
        is_batch = getattr(raw_speech, "ndim", 0) == 2 or (
            isinstance(raw_speech, (list, tuple)) and len(raw_speech) > 0 and np.ndim(raw_speech[0]) > 0
        )
        waveforms = [torch.as_tensor(item, dtype=torch.float32) for item in (raw_speech if is_batch else [raw_speech])]
        for index, waveform in enumerate(waveforms):
            if waveform.ndim != 1 or len(waveform) == 0:
                raise ValueError(
                    f"`raw_speech` item {index} has shape {tuple(waveform.shape)} but must be (samples,) with at least "
                    "one sample; average the channels of a stereo recording first."
                )
        if self.do_normalize:
            # The small constant keeps digital silence silent.
            waveforms = [(item - item.mean()) / (item.var(correction=0) + 1e-7).sqrt() for item in waveforms]
        return waveforms

    def log_mel(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Log-mel features of every full frame, neither padded nor normalised.

        Args:
            waveforms: (batch, samples), float32.

        Returns:
            (batch, frames, feature_size) with frames = 1 + (samples - n_fft) // hop_length.

        Raises:
            ValueError: NaN or infinity in the input.
        """
        frames = waveforms.unfold(1, self.n_fft, self.hop_length)
        features = torch.empty(*frames.shape[:2], self.feature_size)
        items_per_block = max(1, BLOCK_FRAMES // frames.shape[1])
        for items, outputs in zip(frames.split(items_per_block), features.split(items_per_block)):
            for block, output in zip(items.split(BLOCK_FRAMES, dim=1), outputs.split(BLOCK_FRAMES, dim=1)):
                spectrum = torch.fft.rfft(block * self.window)
                power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
                torch.matmul(power, self.mel_filters, out=output)
                output.clamp_(min=self.mel_floor).log_()
        # Log powers are far too small for their sum to overflow, and summing is many times as fast as asking each.
        if not features.sum().isfinite():
            raise ValueError("The waveform holds NaN or infinity; look for a broken file or a division by zero.")
        return features

    def _normalize(self, features: torch.Tensor) -> torch.Tensor:
        """Normalises the real frames of one item, (frames, feature_size), in place, and returns them."""
        if self.normalize == "none":
            return features
        if self.normalize == "global":
            if self.mean is None or self.standard_deviation is None:
                raise ValueError("`normalize` is 'global' but `mean` and `standard_deviation` are not set; call `fit`.")
            return features.sub_(torch.tensor(self.mean)).div_(torch.tensor(self.standard_deviation))
        # As products with a row of equal weights, sums over frames are many times as fast as torch.var_mean.
        weights = torch.full((1, len(features)), 1 / len(features))
        features.sub_(weights @ features)
        return features.div_((weights @ features.square() + 1e-5).sqrt())

    def fit(self, waveforms) -> "LogMelFeatureExtractor":
        """Sets `mean` and `standard_deviation` of every band from an iterable of waveforms, and returns itself."""
        total, squares, count = torch.zeros(self.feature_size), torch.zeros(self.feature_size), 0
        half = self.n_fft // 2
        for waveform in waveforms:
            [waveform] = self._as_waveforms(waveform)
            features = self.log_mel(torch.nn.functional.pad(waveform, (half, half))[None])[0]
            # Sums of float32 squares lose digits over hours of audio, hence float64.
            total = total + features.double().sum(0)
            squares = squares + features.double().square().sum(0)
            count += len(features)
        if count == 0:
            raise ValueError("`waveforms` is empty; `fit` needs at least one waveform.")
        mean = total / count
        self.mean = mean.tolist()
        self.standard_deviation = (squares / count - mean**2).clamp(min=1e-5).sqrt().tolist()
        return self

    def stream(self) -> "LogMelStream":
        """Starts a stream; its chunks, joined, equal the offline features.

        Raises:
            ValueError: with `normalize="utterance"` or `do_normalize`, whose statistics are known only at the end.
        """
        if self.normalize == "utterance":
            raise ValueError("`normalize` is 'utterance', which needs the whole signal; use 'global' or 'none'.")
        if self.do_normalize:
            raise ValueError("`do_normalize` is true, which needs the whole signal; a stream needs it to be false.")
        return LogMelStream(self)


class LogMelStream:
    """Features of a signal that arrives in chunks of any size; made by `LogMelFeatureExtractor.stream`.

    A frame comes out as soon as the last sample under its transform is in: n_fft / 2 samples after its centre.
    """

    def __init__(self, extractor: LogMelFeatureExtractor):
        self.extractor = extractor
        self.pending = torch.zeros(extractor.n_fft // 2)
        self.finished = False

    def push(self, chunk: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Takes (samples,) and returns the frames that are complete by now, (frames, feature_size), perhaps none."""
        if self.finished:
            raise ValueError("This stream is finished; start another with `stream()`.")
        self.pending = torch.cat([self.pending, torch.as_tensor(chunk, dtype=torch.float32)])
        extractor = self.extractor
        if len(self.pending) < extractor.n_fft:
            return torch.empty(0, extractor.feature_size)
        features = extractor.log_mel(self.pending[None])
        self.pending = self.pending[features.shape[1] * extractor.hop_length :]
        return extractor._normalize(features[0])

    def finish(self) -> torch.Tensor:
        """Ends the signal and returns its last frames, (frames, feature_size)."""
        features = self.push(torch.zeros(self.extractor.n_fft // 2))
        self.finished = True
        return features


LogMelFeatureExtractor.register_for_auto_class()
