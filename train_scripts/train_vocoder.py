"""Trains a vocoder: first to the spectra of speech, then against discriminators too.

    python train_scripts/train_vocoder.py vocoder run.folder=runs/vocoder
    accelerate launch train_scripts/train_vocoder.py train_scripts/recipes/vocoder.yaml
    python train_scripts/train_vocoder.py vocoder_decoded run.folder=runs/vocoder_decoded

The last one goes on with a vocoder, and with its discriminators, on the spectrograms that a voice converter makes,
which are smoother than those of recordings.

Run again with the same arguments after a kill: it goes on from the last checkpoint to the same result. `checkpoint/` is
there, and usable, from the first saving on; it holds the running average of the weights.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import set_seed

from antiphon.modeling import VocoderConfig, VocoderModel, VoiceConverterModel
from antiphon.modeling.layers_discriminators import WaveformDiscriminators
from antiphon.modeling.layers_excitation import PitchClasses
from antiphon.modeling.layers_pitch import PitchTracker
from antiphon.modeling.layers_spectrogram import LogMelSpectrogram
from antiphon.modeling.losses_spectral import MultiScaleSpectralLoss
from antiphon.processing import LogMelFeatureExtractor
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora.voices import load_voices
from antiphon.train_scripts.adversarial import ADVERSARIAL_DEFAULTS, PRECISIONS, AdversarialTrainer
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.decoded_segments import INT16_SCALE, DecodedSegments
from antiphon.train_scripts.recipes import RecipeError, check_keys
from antiphon.train_scripts.run_folder import RunFolder, write_json
from antiphon.train_scripts.sources import describe_parts, describe_sources, load_sources
from antiphon.train_scripts.trainings import check_buildable, check_checkpoints, complete_sections, open_run

DATA_DEFAULTS = {
    "voices": None,
    "train": [],
    "validation": [],
    "segment_seconds": 0.8,
    "level_db": -27.0,
    "gain_db": [-9.0, 9.0],
    "validation_segments": 32,
}
RUN_DEFAULTS = {"folder": None, "seed": 0, "initialize_from": None, "converter": None}
TRAINING_DEFAULTS = {**ADVERSARIAL_DEFAULTS, "spectral_weight": 1.0, "pitch_weight": 0.2}
# Keys of `run` that name a checkpoint.
STARTS = ("initialize_from", "converter")


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    sections = {"data": DATA_DEFAULTS, "run": RUN_DEFAULTS, "training": TRAINING_DEFAULTS}
    recipe = complete_sections(recipe, **sections, training_keys=TRAINING_DEFAULTS)
    check_keys(recipe["model"], VocoderConfig().to_dict(), "`model`")
    if bool(recipe["data"]["voices"]) == bool(recipe["data"]["train"]):
        raise RecipeError("Set either `data.voices`, corpora of the stored voice lists, or `data.train`, not both.")
    if (precision := recipe["training"]["mixed_precision"]) not in PRECISIONS:
        raise RecipeError(f"`training.mixed_precision` is {precision!r} but must be one of {', '.join(PRECISIONS)}.")
    check_checkpoints(recipe["run"], STARTS)
    check_buildable({"model": lambda: VocoderConfig(**recipe["model"])})
    return recipe


def load_side(data: dict, side: str) -> Dataset:
    """The recordings of "train" or "validation"."""
    if not data["voices"]:
        return load_sources(data[side], f"data.{side}")
    # Not every corpus has speakers for validation.
    return load_voices(side, data["voices"] if side == "train" else None)


class WaveformSegments(torch.utils.data.Dataset):
    """Random segments of recordings at random levels; which one item i is follows from (seed, i) alone.

    All recordings stay in memory, as 16-bit integers, those beyond full scale lowered as a whole. A segment is drawn
    evenly over all the time that there is; a recording that is shorter is followed by silence.

    Args:
        corpus: With a column `audio`.
        sampling_rate: That every recording must have, in Hz.
        segment_samples: Length of a segment.
        level_db: Level that every recording is brought to, its mean power in dB below full scale.
        gain_db: Range of a gain on top of it.
        seed: Of the places and gains.
    """

    def __init__(
        self,
        corpus: Dataset,
        sampling_rate: int,
        segment_samples: int,
        level_db: float,
        gain_db: tuple[float, float],
        seed: int,
    ):
        self.segment_samples, self.level_db, self.gain_db, self.seed = segment_samples, level_db, gain_db, seed
        self.recordings, num_lowered = [], 0
        for audio in tqdm(corpus["audio"], desc="reading"):
            waveform, _ = read_audio(audio["bytes"] or audio["path"], sampling_rate=sampling_rate)
            peak = np.abs(waveform).max(initial=1.0)
            num_lowered += int(peak > 1)
            self.recordings.append(np.round(waveform / peak * (INT16_SCALE - 1)).astype(np.int16))
        if num_lowered:
            print(f"{num_lowered} of {len(self.recordings)} recordings exceed full scale and were lowered", flush=True)
        lengths = np.array([len(recording) for recording in self.recordings])
        self.shares = lengths / lengths.sum()

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Returns `waveform` (segment_samples,)."""
        generator = np.random.default_rng([self.seed, index])
        recording = self.recordings[generator.choice(len(self.recordings), p=self.shares)]
        start = int(generator.integers(0, max(1, len(recording) - self.segment_samples + 1)))
        samples = recording[start : start + self.segment_samples].astype(np.float32) / INT16_SCALE
        power = np.square(recording, dtype=np.float32).mean() / INT16_SCALE**2
        gain = 10 ** ((self.level_db + generator.uniform(*self.gain_db)) / 20) / np.sqrt(power + 1e-9)
        # A gain that would clip is lowered as a whole.
        gain = min(gain, 1 / max(np.abs(samples).max(), 1e-4))
        return {"waveform": torch.from_numpy(np.pad(samples * gain, (0, self.segment_samples - len(samples))))}


class VocoderObjective(torch.nn.Module):
    """What the vocoder is to do with a segment: restore its spectra from its features, and read its pitch."""

    def __init__(self, config: VocoderConfig, settings: dict):
        super().__init__()
        self.settings = settings
        rate, hop_length, n_fft = config.sampling_rate, config.hop_length, config.n_fft
        self.mel = LogMelSpectrogram(config.num_mel_bins, rate, hop_length, n_fft, n_fft, config.mel_floor)
        self.pitch = PitchTracker(rate, hop_length)
        self.pitch_classes = PitchClasses(config.num_pitch_bins, config.min_hz, config.max_hz)
        self.spectral_loss = MultiScaleSpectralLoss(rate)

    def forward(
        self, generator: torch.nn.Module, batch: dict[str, torch.Tensor], is_adversarial: bool
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Returns the made waveform, the real one and the losses, as `AdversarialTrainer` wants them."""
        waveform = batch["waveform"]
        self.to(waveform.device)
        f0 = self.pitch(waveform)
        # Pulses at the true pitch at first; later the model must do with the pitch that it reads itself.
        output = generator(self._features(batch), f0=None if is_adversarial else f0)
        real = waveform[:, : output.waveform.shape[1]]
        losses = {
            "spectral": self.settings["spectral_weight"] * self.spectral_loss(output.waveform, real),
            "pitch": self.settings["pitch_weight"] * self.pitch_classes.loss(output.pitch_logits, f0),
        }
        return output.waveform, real, losses

    def _features(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What a converter made of the segments where the dataset has it, else their own spectrogram."""
        return batch["input_features"] if "input_features" in batch else self.mel(batch["waveform"])

    @torch.no_grad()
    def validate(self, generator: VocoderModel, segments: torch.utils.data.Dataset, count: int) -> dict[str, float]:
        """Spectral distance with the model's own pitch, and how often that pitch is right within a fifth of a tone."""
        items = [segments[index] for index in range(count)]
        batch = {name: torch.stack([item[name] for item in items]).to(generator.device) for name in items[0]}
        waveform = batch["waveform"]
        features, f0 = self._features(batch), self.pitch(waveform)
        made = generator(features).waveform
        own = self.pitch_classes.decode(generator.read_pitch(features))
        is_right = (torch.log2(own / f0.clamp(min=1.0)).abs() < 0.2 / 6)[f0 > 0]
        return {
            "spectral": float(self.spectral_loss(made, waveform[:, : made.shape[1]])),
            "pitch_accuracy": float(is_right.float().mean()),
        }


def save_checkpoint(generator: VocoderModel, folder: Path) -> None:
    """Writes the model and the feature extractor that belongs to it."""
    config = generator.config
    generator.save_pretrained(folder)
    LogMelFeatureExtractor(
        feature_size=config.num_mel_bins,
        sampling_rate=config.sampling_rate,
        hop_length=config.hop_length,
        win_length=config.n_fft,
        n_fft=config.n_fft,
        mel_floor=config.mel_floor,
        normalize="none",
    ).save_pretrained(folder)


def build_models(recipe: dict) -> tuple[VocoderModel, WaveformDiscriminators]:
    """Makes a vocoder and its judges with random weights, or takes those of `run.initialize_from`.

    The judges of a published vocoder are gone; where its run is still there, they come along.
    """
    discriminators, start = WaveformDiscriminators(), recipe["run"]["initialize_from"]
    if not start:
        return VocoderModel(VocoderConfig(**recipe["model"])), discriminators
    generator = VocoderModel.from_pretrained(start, **recipe["model"])
    state = Path(start).parent / "trainer" / "state.pt"
    if state.is_file():
        discriminators.load_state_dict(torch.load(state, map_location="cpu", weights_only=True)["discriminators"])
    else:
        print(f"{state} is not there: the discriminators begin anew", flush=True)
    return generator, discriminators


def make_segments(recipe: dict, config: VocoderConfig, corpora: dict[str, Dataset]) -> list[torch.utils.data.Dataset]:
    """Segments to train on and to validate by: of recordings, or of what `run.converter` makes of them."""
    data, seeds = recipe["data"], {"train": recipe["run"]["seed"], "validation": 0}
    gains = {"train": data["gain_db"], "validation": (0.0, 0.0)}
    samples = round(data["segment_seconds"] * config.sampling_rate)
    if folder := recipe["run"]["converter"]:
        converter = VoiceConverterModel.from_pretrained(folder).eval()
        return [DecodedSegments(corpora[side], converter, samples, gains[side], seeds[side]) for side in seeds]
    return [
        WaveformSegments(corpora[side], config.sampling_rate, samples, data["level_db"], gains[side], seeds[side])
        for side in seeds
    ]


def train(recipe: dict) -> RunFolder:
    """Runs a resolved recipe and returns its folder."""
    data, settings, seed = recipe["data"], recipe["training"], recipe["run"]["seed"]
    run = open_run(recipe)
    if run.is_trained:
        return run
    set_seed(seed)
    generator, discriminators = build_models(recipe)
    config = generator.config
    corpora = {side: load_side(data, side) for side in ("train", "validation")}
    heard_by = [recipe["run"][name] for name in STARTS]
    write_json(run.path / "training_data.json", describe_parts(describe_sources(corpora["train"]), heard_by))
    train_set, validation_set = make_segments(recipe, config, corpora)
    objective = VocoderObjective(config, settings)
    print(f"{generator.num_parameters():,} parameters; {len(corpora['train'])} recordings", flush=True)
    AdversarialTrainer(
        generator,
        discriminators,
        make=objective,
        dataset=train_set,
        settings=settings,
        run=run,
        save=save_checkpoint,
        validate=partial(objective.validate, segments=validation_set, count=data["validation_segments"]),
        seed=seed,
    ).train()
    return run


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
