"""A Conformer of about 100 thousand parameters and a padded batch for it."""

import torch

from antiphon.modeling import ConformerConfig, ConformerForCTC

# Lengths that no hop, stride or factor divides.
LENGTHS = (57, 41, 35, 9)
SYMBOLS = (6, 4, 3, 1)
NO_REGULARISATION = {"hidden_dropout": 0.0, "num_time_masks": 0, "num_frequency_masks": 0}


def make_config(**changes) -> ConformerConfig:
    """The tiny size of the `ConformerConfig` docstring."""
    tiny = {
        "vocab_size": 12,
        "num_mel_bins": 40,
        "hidden_size": 48,
        "intermediate_size": 144,
        "num_hidden_layers": 2,
        "subsampling_channels": 8,
    }
    return ConformerConfig(**(tiny | changes))


def make_model(seed: int = 0, **changes) -> ConformerForCTC:
    """A tiny recogniser with seeded weights, in evaluation mode."""
    torch.manual_seed(seed)
    return ConformerForCTC(make_config(**changes)).eval()


def make_batch(lengths=LENGTHS, symbols=SYMBOLS, num_mel_bins: int = 40, vocab_size: int = 12, seed: int = 0) -> dict:
    """Features, mask and labels of one item per length, padded on the right with zeros and -100."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), num_mel_bins, generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    labels = torch.randint(1, vocab_size, (len(lengths), max(symbols)), generator=generator)
    labels[torch.arange(max(symbols)) >= torch.tensor(symbols)[:, None]] = -100
    return {"input_features": features * mask[:, :, None], "attention_mask": mask, "labels": labels}
