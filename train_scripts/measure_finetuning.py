"""Measures what fitting a voice converter to one recording of a voice brings, on pairs of validation.

    python train_scripts/measure_finetuning.py runs/voice/checkpoint --steps 200 --scenarios same_gender cross_gender

For every pair, a copy of the converter is fitted to the reference as `finetune_voice.py` does, and converts; beside it
stand the converter as it was and the source unchanged. The row is of other weights and goes to `related_results`
beside the checkpoint.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch

from antiphon.eval.benchmark_voice_conversion import (
    benchmark_voice_conversion,
    format_row,
    load_conversions,
    split_name,
)
from antiphon.eval.training_speakers import speakers_of_training
from antiphon.eval.voice_checkpoint import CheckpointConverter
from antiphon.eval.voice_panel import load_judges
from antiphon.eval.voice_systems import UnchangedInput
from antiphon.modeling import VoiceConverterModel
from antiphon.train_scripts.finetune_voice import LEARNING_RATE, STEPS, finetune

SIDE = "validation"  # what a user chooses steps and rate by


class FittedConverter:
    """Fits a copy of a converter to each reference before it converts; the last one is kept for the next source.

    Args:
        model: a `VoiceConverterModel` in float32; stays as it is.
        options: of `finetune`.
    """

    def __init__(self, model: VoiceConverterModel, **options):
        self.model, self.options = model, options
        self._reference, self._fitted = None, None

    def convert(self, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Say what the source says in the voice of the reference."""
        if self._reference is None or not np.array_equal(reference, self._reference):
            fitted = copy.deepcopy(self.model)
            prompt = fitted.make_prompt(torch.from_numpy(reference), "given for this measurement alone")
            finetune(fitted, prompt, **self.options)
            self._reference, self._fitted = reference, CheckpointConverter(fitted)
        return self._fitted.convert(source, reference)


def measure_finetuning(
    checkpoint: str | Path,
    *,
    out: str | Path,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    scenarios: list[str] | None = None,
    quick: bool = False,
    seed: int = 0,
) -> dict:
    """Measures a converter before and after, and writes the row `voice_finetuning`.

    Args:
        checkpoint: Folder of the converter.
        out: Folder for the row.
        steps, learning_rate, seed: Of the fitting.
        scenarios, quick: Which pairs of validation.
    """
    model = VoiceConverterModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    fitted = FittedConverter(model, steps=steps, learning_rate=learning_rate, seed=seed)
    return benchmark_voice_conversion(
        fitted,
        load_conversions(quick, scenarios, SIDE),
        {"without_finetuning": CheckpointConverter(model), "unchanged_input": UnchangedInput()},
        load_judges(with_quality=False),
        name="voice_finetuning",
        split=split_name(quick, scenarios, SIDE),
        out=out,
        system_name=f"{steps}_steps_at_{learning_rate:g}",
        trained_on=speakers_of_training(checkpoint),
        seed=seed,
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of a voice converter")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--scenarios", nargs="+", help="only these")
    parser.add_argument("--quick", action="store_true", help="a few pairs of each scenario")
    parser.add_argument("--out", type=Path, help="folder for the row, by default `related_results` by the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chosen = vars(options) | {"out": options.out or options.checkpoint.parent / "related_results"}
    print(format_row(measure_finetuning(**chosen)))


if __name__ == "__main__":
    main()
