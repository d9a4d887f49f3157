"""Teaches lattice transformers to hear on invented piano pieces, before they judge anybody's playing.

    python train_scripts/pretrain_piano_lattices.py piano_lattices run.folder=runs/piano_lattices

The pieces come from a generator, so nothing of any corpus is in them. Run again after a kill it goes on from the last
checkpoint. `checkpoint/` holds the lattices under the names that `train_piano_assessment.py` looks for.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers import Trainer, set_seed

from antiphon.eval.piano_features import PianoFiles, piano_features
from antiphon.modeling import PianoAssessmentConfig, PianoLatticePreTraining
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import write_midi
from antiphon.processing.corpora.rendering import render_midi
from antiphon.processing.corpora.synthetic_piano import synthetic_performance
from antiphon.train_scripts.command_line import train_by_recipe
from antiphon.train_scripts.epochs import EpochAnnouncer
from antiphon.train_scripts.progress import ProgressFile
from antiphon.train_scripts.recipes import check_keys
from antiphon.train_scripts.run_folder import RunFolder
from antiphon.train_scripts.trainings import check_buildable, complete_sections, open_run, trained, training_arguments

DATA_DEFAULTS = {
    "num_pieces": 600,
    "num_bars": 6,
    "first_seed": 0,
    "validation_share": 0.05,
    "soundfonts": ["FluidR3_GM"],
    "seconds": 8.0,
}
RUN_DEFAULTS = {"folder": None, "seed": 0}
TRAINING_DEFAULTS = {
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.05,
    "weight_decay": 0.01,
    "max_steps": 2000,
    "eval_strategy": "steps",
    "eval_steps": 500,
    "save_steps": 500,
    "save_total_limit": 1,
    "logging_steps": 50,
    "report_to": "trackio",
}


def resolve(recipe: dict) -> dict:
    """Fills in defaults, and refuses keys that nothing reads and values that nothing can be built from."""
    recipe = complete_sections(recipe, data=DATA_DEFAULTS, run=RUN_DEFAULTS, training=TRAINING_DEFAULTS)
    check_keys(recipe["model"], PianoAssessmentConfig().to_dict(), "`model`")
    check_buildable({"model": lambda: PianoAssessmentConfig(**recipe["model"])})
    return recipe


def invent(data: dict, folder: Path) -> list[PianoFiles]:
    """Writes the pieces of a recipe as MIDI files below `folder` and renders them, each with one of the soundfonts."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(data["first_seed"], data["first_seed"] + data["num_pieces"])

    def make(seed: int) -> PianoFiles:
        midi = folder / f"{seed}.mid"
        if not midi.is_file():
            write_midi(synthetic_performance(seed, data["num_bars"])[0], midi)
        soundfont = data["soundfonts"][seed % len(data["soundfonts"])]
        return PianoFiles(audio=str(render_midi(midi, soundfont=soundfont)), midi=str(midi))

    # Threads are enough: the work is done by a renderer's processes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(make, seeds), total=len(seeds), desc="inventing pieces", disable=None))


class Windows(Dataset):
    """A window of each piece, at a place that is drawn anew for each epoch, or at the beginning."""

    def __init__(self, pieces: list[dict[str, torch.Tensor]], frames: int, seed: int | None = None):
        self.pieces = pieces
        self.frames = frames
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        piece = self.pieces[index]
        shared = min(len(piece["input_features"]), len(piece["roll_features"]))
        latest = max(shared - self.frames, 0)
        start = 0
        if self.seed is not None:
            start = int(np.random.default_rng([self.seed, self.epoch, index]).integers(latest + 1))
        frames = slice(start, min(start + self.frames, shared))
        return {name: piece[name][frames].float() for name in ("input_features", "roll_features")}


def collate(items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Pads windows on the right; both lattices show the same frames."""
    lengths = torch.tensor([len(item["input_features"]) for item in items])
    batch = {
        name: torch.nn.utils.rnn.pad_sequence([item[name] for item in items], batch_first=True) for name in items[0]
    }
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return {**batch, "attention_mask": mask, "roll_attention_mask": mask}


def train(recipe: dict) -> RunFolder:
    """Runs a resolved recipe and returns its folder."""
    data, seed = recipe["data"], recipe["run"]["seed"]
    run = open_run(recipe)
    if run.is_trained:
        return run
    set_seed(seed)
    extractor = PianoFeatureExtractor()
    pieces = piano_features(invent(data, run.path / "pieces"), extractor)
    num_validation = max(1, round(data["validation_share"] * len(pieces)))
    frames = round(data["seconds"] * extractor.frame_rate)
    model = PianoLatticePreTraining(PianoAssessmentConfig(**recipe["model"]))
    print(f"{model.num_parameters():,} parameters, {len(pieces) - num_validation} pieces", flush=True)
    trainer = Trainer(
        model=model,
        args=training_arguments(
            run,
            recipe,
            remove_unused_columns=False,
            label_names=["roll_features"],  # so that validation has a loss
        ),
        data_collator=collate,
        train_dataset=Windows(pieces[num_validation:], frames, seed),
        eval_dataset=Windows(pieces[:num_validation], frames),
        processing_class=extractor,
        callbacks=[EpochAnnouncer(), ProgressFile(run.path)],
    )
    with trained(trainer, run):
        trainer.save_model(str(run.checkpoint))
        trainer.log_metrics("validation", trainer.evaluate())
    return run


def main(arguments: list[str] | None = None) -> None:
    train_by_recipe(__doc__, resolve, train, arguments)


if __name__ == "__main__":
    main()
