"""A character tokenizer for CTC, with its text normaliser inside."""

import itertools
import string

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

BLANK, UNKNOWN, SPACE = "<blank>", "<unk>", "|"


def make_normalizer(alphabet: str) -> normalizers.Normalizer:
    """Lower case, typographic apostrophes to plain ones, everything outside the alphabet to spaces, single spaces."""
    allowed = "".join(f"\\{character}" if character in "\\[]^-&" else character for character in alphabet)
    return normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[‘’ʼ`]"), "'"),
            normalizers.Replace(Regex(f"[^{allowed} ]+"), " "),
            normalizers.Replace(Regex(" +"), " "),
            normalizers.Strip(),
        ]
    )


class CharacterTokenizer(PreTrainedTokenizerFast):
    """Characters as tokens: id 0 is the CTC blank (also the padding), spaces are written `|`.

    Decoding merges repeated ids and drops blanks, as CTC asks. The normaliser travels in `tokenizer.json`, so that what
    was measured can be repeated: see `normalize_text`.
    """

    @classmethod
    def from_corpus(cls, texts, alphabet: str | None = None) -> "CharacterTokenizer":
        """Builds a tokenizer from the characters that occur in a corpus, or of a given alphabet.

        Args:
            texts: Iterable of transcripts.
            alphabet: Characters to keep, others become spaces. All of them are symbols, so that a later training on
                other texts can use them too. By default those of the ASCII letters, digits and apostrophe that occur.

        Raises:
            ValueError: if no transcript holds a character of the alphabet.
        """
        normalizer = make_normalizer(alphabet or string.ascii_lowercase + string.digits + "'")
        occurring = set("".join(normalizer.normalize_str(text) for text in texts)) - {" "}
        if not occurring:
            raise ValueError("`texts` holds no character of `alphabet`; look at the text column and its language.")
        characters = sorted(set(normalizer.normalize_str(alphabet)) - {" "} if alphabet else occurring)
        vocabulary = {symbol: index for index, symbol in enumerate([BLANK, UNKNOWN, SPACE, *characters])}
        backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        backend.normalizer = normalizers.Sequence([normalizer, normalizers.Replace(" ", SPACE)])
        backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        backend.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace(SPACE, " ")])
        return cls(tokenizer_object=backend, pad_token=BLANK, unk_token=UNKNOWN)

    def normalize_text(self, text: str) -> str:
        """The form in which a transcript is learnt and scored."""
        return self.backend_tokenizer.normalizer.normalize_str(text).replace(SPACE, " ")

    def _decode(self, token_ids, skip_special_tokens: bool = False, group_tokens: bool = True, **kwargs) -> str:
        """Text of a sequence of ids; `group_tokens=False` keeps repeats, for ids that are labels and not CTC output."""
        token_ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        if group_tokens:
            token_ids = [token for token, _ in itertools.groupby(token_ids)]
        token_ids = [token for token in token_ids if token != self.pad_token_id]
        return super()._decode(token_ids, skip_special_tokens=skip_special_tokens, **kwargs)


CharacterTokenizer.register_for_auto_class("AutoTokenizer")
