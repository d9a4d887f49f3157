"""A speaker encoder of about 70 thousand parameters and a padded batch for it."""

import torch

from antiphon.modeling import SpeakerEncoderConfig, SpeakerEncoderModel

# Lengths that no stride divides, and one that is shorter than any kernel.
LENGTHS = (57, 40, 23, 3)


def make_config(**changes) -> SpeakerEncoderConfig:
    """The tiny size of the `SpeakerEncoderConfig` docstring, without masks."""
    tiny = {
        "hidden_size": 64,
        "dilations": [2],
        "aggregation_size": 128,
        "speaker_size": 32,
        "attention_size": 16,
        "apply_spec_augment": False,
    }
    return SpeakerEncoderConfig(**(tiny | changes))


def make_model(seed: int = 0, **changes) -> SpeakerEncoderModel:
    """A tiny encoder with seeded weights, in evaluation mode; its statistics are those of a few random batches."""
    torch.manual_seed(seed)
    model = SpeakerEncoderModel(make_config(**changes)).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 50, model.config.num_mel_bins))
    return model.eval()


def make_batch(lengths=LENGTHS, num_mel_bins: int = 80, seed: int = 0) -> dict[str, torch.Tensor]:
    """Features and mask of one item per length; padding holds what must not be heard."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), num_mel_bins, generator=generator) - 5
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_features": features.masked_fill(mask[:, :, None] == 0, 9.0), "attention_mask": mask}
