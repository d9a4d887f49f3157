"""Fits a voice converter to one voice, from one recording of it.

    python train_scripts/finetune_voice.py CHECKPOINT RECORDING --consent "my own voice" --to runs/my_voice

Only the decoder learns, to say the recording's own segments with the rest of it as reference; the decoder's weights are
averaged over the second half of the steps. FOLDER receives the converter and the prompt, `voice.safetensors`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from antiphon.modeling import VoiceConverterModel, VoicePrompt
from antiphon.processing.audio_io import read_audio
from antiphon.train_scripts.run_folder import write_json
from antiphon.train_scripts.voice_data import SegmentPicker, VoiceCollator, VoiceSegments, VoiceTable

STEPS, LEARNING_RATE = 200, 2e-4
BATCH_SIZE = 8
# A segment takes at most a third of the recording, so that references have room beside it.
MOST_SEGMENT_FRAMES = 128


def own_segments(model: VoiceConverterModel, prompt: VoicePrompt, num_segments: int, seed: int) -> VoiceSegments:
    """Segments of the prompt's recording, each with a reference from beside it."""
    num_frames = len(prompt.f0)
    length = min(MOST_SEGMENT_FRAMES, num_frames // 3 // 2 * 2)
    with torch.no_grad():
        content = model.content_encoder(prompt.input_features[None].to(model.device)).content[0]
    table = VoiceTable(
        {
            "input_features": prompt.input_features.numpy(),
            "f0": prompt.f0.numpy(),
            "content": content.cpu().numpy(),
            "lengths": np.array([num_frames]),
            "speakers": np.array([0]),
        }
    )
    picker = SegmentPicker(
        table.speakers,
        table.lengths,
        segment_length=length,
        reference_lengths=[length // 2, num_frames],
        grid=2,
        seed=seed,
    )
    return VoiceSegments(table, picker, num_segments)


def finetune(
    model: VoiceConverterModel, prompt: VoicePrompt, *, steps: int, learning_rate: float, seed: int
) -> list[float]:
    """Trains the decoder in place and returns the error of the spectrogram at each step, in natural log power.

    Args:
        model: In float32, on whatever device, in whatever mode; it is left in evaluation mode.
        prompt: Of the voice.
        steps: A few hundred at most: there is only one recording.
        learning_rate: Of Adam, constant.
        seed: Of segments and dropout.
    """
    torch.manual_seed(seed)
    model.eval()
    segments = own_segments(model, prompt, steps * BATCH_SIZE, seed)
    for part in (model.content_encoder, model.speaker_encoder):
        part.requires_grad_(False)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=learning_rate)
    averages, errors = [torch.zeros_like(parameter) for parameter in learned], []
    averaged = range(steps // 2, steps)
    model.train()
    # Dropout in parts that stay as they are would only blur what the decoder reads.
    model.content_encoder.eval()
    model.speaker_encoder.eval()
    for step in tqdm(range(steps), desc="fitting"):
        batch = VoiceCollator()([segments[step * BATCH_SIZE + place] for place in range(BATCH_SIZE)])
        outputs = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        optimizer.zero_grad()
        outputs.loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        errors.append(float(outputs.mel_errors.detach().mean()))
        if step in averaged:
            for average, parameter in zip(averages, learned):
                average.add_(parameter.detach(), alpha=1 / len(averaged))
    with torch.no_grad():
        for average, parameter in zip(averages, learned):
            parameter.copy_(average)
    model.eval()
    return errors


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a folder or Hub repository with a voice converter")
    parser.add_argument("recording", help="an audio file of the voice")
    parser.add_argument("--consent", required=True, help="who allowed that this voice is used, and for what")
    parser.add_argument("--to", required=True, type=Path, help="folder for the converter and the prompt")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.steps < 2:
        sys.exit(f"error: `--steps` is {options.steps} but must be at least 2.")
    # Steps as small as these would be lost in the rounding of a checkpoint in bfloat16.
    model = VoiceConverterModel.from_pretrained(options.checkpoint, dtype=torch.float32)
    try:
        rate = model.config.sampling_rate
        waveform, _ = read_audio(options.recording, sampling_rate=rate, resample=True)
        prompt = model.make_prompt(waveform, options.consent, origin=Path(options.recording).name)
        errors = finetune(model, prompt, steps=options.steps, learning_rate=options.learning_rate, seed=options.seed)
    except ValueError as error:
        sys.exit(f"error: {error}")
    model.save_pretrained(options.to)
    prompt.save(options.to / "voice.safetensors")
    write_json(options.to / "finetuning.json", {"steps": options.steps, "seed": options.seed, "mel_errors": errors})
    print(f"mel error {np.mean(errors[:10]):.3f} before, {np.mean(errors[-10:]):.3f} after; {options.to}")


if __name__ == "__main__":
    main()
