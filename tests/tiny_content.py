"""A content encoder of about 70 thousand parameters and a padded batch for it."""

import torch

from antiphon.modeling.configuration_content_encoder import ContentEncoderConfig
from antiphon.modeling.modeling_content_encoder import ContentEncoderForCTC

# Lengths that no chunk or stride divides.
LENGTHS = (97, 70, 41)
PHONES = ["_", "a", "n", "s", "t"]


def make_config(**changes) -> ContentEncoderConfig:
    encoder = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "subsampling_channels": 4}
    regularisation = {"hidden_dropout": 0.0, "num_time_masks": 0, "num_frequency_masks": 0}
    streaming = {"chunk_frames": 4, "left_chunks": 2}
    options = {"encoder_config": encoder | regularisation | streaming, "bottleneck_noise": 0.0, "vocab_size": 9}
    return ContentEncoderConfig(**(options | {"content_size": 16, "phone_names": PHONES} | changes))


def make_model(seed: int = 0, **changes) -> ContentEncoderForCTC:
    """A tiny content encoder with its heads and seeded weights, in evaluation mode."""
    torch.manual_seed(seed)
    return ContentEncoderForCTC(make_config(**changes)).eval()


def make_batch(lengths=LENGTHS, seed: int = 0) -> dict[str, torch.Tensor]:
    """Features like log power, mask and every target, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    features = 2 * torch.randn(len(lengths), max(lengths), 80, generator=generator) - 7
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    content_mask = mask[:, ::2].bool()
    phones = torch.randint(len(PHONES), content_mask.shape, generator=generator)
    return {
        "input_features": features * mask[:, :, None],
        "attention_mask": mask,
        "labels": torch.randint(2, 9, (len(lengths), 5), generator=generator),
        "phone_labels": phones.masked_fill(~content_mask, -100),
        "clean_features": (features + 0.1) * mask[:, :, None],
        "speaker_labels": torch.tensor([0, 1, -100])[: len(lengths)],
    }
