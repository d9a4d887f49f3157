"""Where training data comes from: one loader for every source, one schema, splits and their audit."""

from .schema import STANDARD_FEATURES, CorpusError, conform, decode, total_hours
from .synthetic import SYNTHETIC_CORPORA, SynthesisError, load_synthetic

__all__ = [
    "STANDARD_FEATURES",
    "CorpusError",
    "SynthesisError",
    "conform",
    "decode",
    "load_corpus",
    "total_hours",
]


def load_corpus(name, **options):
    if name in SYNTHETIC_CORPORA:
        return load_synthetic(name, **options)
    raise CorpusError(f"no corpus {name!r}.")
