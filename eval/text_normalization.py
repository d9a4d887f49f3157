"""The form in which transcripts are scored."""

import hashlib
import json
from collections.abc import Callable

from tokenizers import Regex, normalizers

# Words in any script. Whisper's own basic normaliser drops the marks of letters, which are the vowels of many scripts.
WORDS = normalizers.Sequence(
    [
        normalizers.NFKC(),
        normalizers.Lowercase(),
        normalizers.Replace(Regex("[‘’ʼ`]"), "'"),
        normalizers.Replace(Regex(r"[^\p{L}\p{M}\p{N}']+"), " "),
        normalizers.Strip(),
    ]
)


def text_normalizer(tokenizer) -> tuple[Callable[[str], str], str]:
    """Return how transcripts of a checkpoint are normalised, and the name of that with a digest of its rules.

    A tokenizer that has a normaliser of its own, `normalize_text`, is asked; the transcripts of any other become
    lower-case words of letters, digits and apostrophes.

    Args:
        tokenizer: of the checkpoint; the rules of its `normalize_text` travel in its `tokenizer.json`.
    """
    if hasattr(tokenizer, "normalize_text"):
        rules = json.loads(tokenizer.backend_tokenizer.to_str())["normalizer"]
        return tokenizer.normalize_text, f"{type(tokenizer).__name__}.normalize_text ({_digest(rules)})"
    return WORDS.normalize_str, f"words in lower case ({_digest(json.loads(WORDS.__getstate__()))})"


def _digest(rules) -> str:
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:12]
