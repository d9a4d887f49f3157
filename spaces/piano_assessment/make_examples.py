"""Writes the bundled examples: an invented piece played in two manners, and another one, each as MIDI and as sound.

    python make_examples.py

No score, performance or recording of a person is in them; the sound is FluidSynth's, with the FluidR3 soundfont (MIT).
"""

from pathlib import Path

import numpy as np

from antiphon.processing.audio_io import read_audio, write_audio
from antiphon.processing.audio_midi import write_midi
from antiphon.processing.corpora import render_midi
from antiphon.processing.corpora.synthetic_piano import Manner, compose, perform

FOLDER = Path(__file__).parent / "examples"
CALM = Manner(
    beats_per_minute=84, rubato=0.12, unevenness=0.008, loudness=46, dynamic_range=7, melody=14, articulation=1.0,
    pedal=0.9,
)  # fmt: skip
BRISK = Manner(
    beats_per_minute=126, rubato=0.03, unevenness=0.004, loudness=78, dynamic_range=4, melody=4, articulation=0.5,
    pedal=0.0,
)  # fmt: skip
# name: (seed of the piece, manner)
EXAMPLES = {"arpeggios_calm": (10, CALM), "arpeggios_brisk": (10, BRISK), "chords_brisk": (3, BRISK)}


def main() -> None:
    """Writes the score, the performance and the recording of each example."""
    FOLDER.mkdir(exist_ok=True)
    for name, (seed, manner) in EXAMPLES.items():
        score = compose(np.random.default_rng(seed))
        performance = perform(score, manner, np.random.default_rng(seed))
        piece, _ = name.split("_")
        write_midi(score, FOLDER / f"{piece}_score.mid")
        write_midi(performance, FOLDER / f"{name}.mid")
        seconds = performance.sounding_offsets().max() + 0.5
        waveform, sampling_rate = read_audio(render_midi(FOLDER / f"{name}.mid", trim_seconds=seconds))
        write_audio(FOLDER / f"{name}.flac", waveform, sampling_rate)


if __name__ == "__main__":
    main()
