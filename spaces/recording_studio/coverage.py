"""Counts the phonemes and diphones of prompts, as eSpeak NG reads them in American English.

    python coverage.py [LIST ...]

Each LIST is a text file with one prompt a line, or a CSV with a column `text`; by default the Space's own lists. The
engine is GPL-3 and the Space does without it: `pip install antiphon[synthesis]`, or espeakng-loader alone.
"""

import argparse
import ctypes
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from prompts import OWN_LISTS, PromptError, read_list

# The 39 phonemes of General American that ARPAbet distinguishes; the schwa counts as ʌ, and ɚ as ɝ, as there.
VOWELS = ("i", "ɪ", "eɪ", "ɛ", "æ", "ɑ", "ɔ", "oʊ", "ʊ", "u", "ʌ", "ɝ", "aɪ", "aʊ", "ɔɪ")
CONSONANTS = (
    "p", "b", "t", "d", "k", "ɡ", "tʃ", "dʒ", "f", "v", "θ", "ð", "s", "z", "ʃ", "ʒ", "h",
    "m", "n", "ŋ", "l", "ɹ", "w", "j",
)  # fmt: skip
PHONEMES = (*VOWELS, *CONSONANTS)
# What eSpeak NG writes otherwise: reduced vowels, vowels merged with what follows, flaps and glottal stops of t.
_SPELLINGS = {
    "ə": "ʌ", "ɐ": "ʌ", "ᵻ": "ɪ", "ɚ": "ɝ", "ɜ": "ɝ", "o": "oʊ", "e": "eɪ", "a": "æ", "ɾ": "t", "ʔ": "t",
    "ɪɹ": "ɪ ɹ", "ɛɹ": "ɛ ɹ", "ɑɹ": "ɑ ɹ", "ɔɹ": "ɔ ɹ", "oɹ": "ɔ ɹ", "ʊɹ": "ʊ ɹ", "aɪɚ": "aɪ ɝ", "aɪə": "aɪ ʌ",
    "iə": "i ʌ", "əl": "ʌ l", "n̩": "ʌ n", "r": "ɹ", "g": "ɡ",
}  # fmt: skip
_MARKS = str.maketrans("", "", "ˈˌː")
_CHARS_UTF8, _IPA, _SEPARATOR = 1, 2, ord("|") << 8  # of eSpeak NG's speak_lib.h
_SYNCHRONOUS = 2


class CoverageError(RuntimeError):
    """Phonemes cannot be told; the message says what to do."""


class Reader:
    """eSpeak NG as a reader of texts. The library is global to the process."""

    def __init__(self):
        try:
            import espeakng_loader
        except ImportError:
            raise CoverageError("coverage needs eSpeak NG; run `pip install antiphon[synthesis]`.") from None
        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data = str(espeakng_loader.get_data_path()).encode()
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0) <= 0:
            raise CoverageError("eSpeak NG could not start; reinstall espeakng-loader.")
        if self._library.espeak_SetVoiceByName(b"en-us") != 0:
            raise CoverageError("eSpeak NG has no American voice; reinstall espeakng-loader.")
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def phonemes(self, text: str) -> list[str]:
        """Phonemes of a text, of `PHONEMES`, across the words.

        Raises:
            CoverageError: The engine writes a sound that is none of them.
        """
        written = ctypes.create_string_buffer(text.encode())
        rest, clauses = ctypes.c_void_p(ctypes.addressof(written)), []
        while rest.value:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(rest), _CHARS_UTF8, _IPA | _SEPARATOR)
            clauses.append(clause.decode())
        sounds = [sound.translate(_MARKS) for sound in " ".join(clauses).replace("|", " ").split()]
        found = [phoneme for sound in sounds for phoneme in _SPELLINGS.get(sound, sound).split()]
        if foreign := set(found) - set(PHONEMES):
            raise CoverageError(f"{text!r} is read with {', '.join(sorted(foreign))}, which no English phoneme is.")
        return found


def count_phonemes(readings: Iterable[Sequence[str]]) -> Counter:
    """How often each phoneme of `PHONEMES` stands in the readings."""
    return Counter(phoneme for reading in readings for phoneme in reading)


def count_diphones(readings: Iterable[Sequence[str]]) -> Counter:
    """How often each pair of neighbouring phonemes stands in the readings; pairs across prompts do not count."""
    return Counter(pair for reading in readings for pair in pairwise(reading))


def describe(name: str, readings: Sequence[Sequence[str]]) -> str:
    """A line about the whole and a table of all phonemes, the rarest first."""
    counts, diphones = count_phonemes(readings), count_diphones(readings)
    total, present = sum(counts.values()), [phoneme for phoneme in PHONEMES if counts[phoneme]]
    lines = [
        f"{name}: {len(readings)} prompts, {total} phonemes, {len(present)} of {len(PHONEMES)} different ones, "
        f"{len(diphones)} different diphones of {len(PHONEMES) ** 2} thinkable",
        "  rarest first, as count and in how many prompts:",
    ]
    cells = [
        f"{phoneme:>3} {counts[phoneme]:5} {sum(phoneme in reading for reading in readings):4}"
        for phoneme in sorted(PHONEMES, key=counts.__getitem__)
    ]
    lines += ["  " + "   ".join(cells[start : start + 6]) for start in range(0, len(cells), 6)]
    if missing := [phoneme for phoneme in PHONEMES if not counts[phoneme]]:
        lines.append(f"  missing: {' '.join(missing)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Prints the coverage of each list, and of all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="*", type=Path, metavar="LIST", default=list(OWN_LISTS), help="text or CSV")
    options = parser.parse_args(arguments)
    try:
        reader = Reader()
        readings = {
            path.stem: [reader.phonemes(prompt.normalised_text) for prompt in read_list(path)] for path in options.lists
        }
    except (CoverageError, PromptError) as error:
        print(f"coverage.py: error: {error}", file=sys.stderr)
        return 1
    if len(readings) > 1:
        readings["all"] = [reading for of_list in readings.values() for reading in of_list]
    print("\n\n".join(describe(name, of_list) for name, of_list in readings.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
