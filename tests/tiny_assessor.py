"""A tiny checkpoint that judges invented piano performances, with the population that it was fitted on."""

from pathlib import Path

import numpy as np
import torch

from antiphon.eval.reference_population import build_population, write_population
from antiphon.modeling import PianoAssessmentConfig, PianoAssessmentModel
from antiphon.modeling.modeling_piano_assessment import INPUT_SETS
from antiphon.processing import PianoFeatureExtractor
from antiphon.processing.audio_midi import Performance, write_midi
from antiphon.processing.corpora.synthetic_piano import compose, draw_manner, perform
from antiphon.processing.percepts import PERCEPTS

NUM_PIECES, NUM_PLAYERS = 2, 7


def piece(seed: int) -> Performance:
    """The score of an invented piece."""
    return compose(np.random.default_rng(seed), num_bars=2)


def rendition(seed: int, player: int, **changes) -> Performance:
    """A performance of a piece in a manner of the player's own."""
    generator = np.random.default_rng([seed, player])
    manner = draw_manner(generator)
    return perform(piece(seed), type(manner)(**{**vars(manner), **changes}), generator)


def performance_rows(folder: Path, num_players: int = NUM_PLAYERS) -> list[dict]:
    """Rows as the corpus has them; a computer plays each piece, too, far louder than anybody."""
    rows = []
    for seed in range(NUM_PIECES):
        score = folder / f"score_{seed}.mid"
        write_midi(piece(seed), score)
        for player in [*range(num_players), "Score"]:
            midi = folder / f"{seed}_{player}.mid"
            performance = rendition(seed, 99, loudness=120) if player == "Score" else rendition(seed, player)
            write_midi(performance, midi)
            percepts = np.random.default_rng([seed, len(rows)]).uniform(0.2, 0.9, len(PERCEPTS))
            rows.append(
                {
                    "midi": str(midi),
                    "score_midi": str(score),
                    "passage": f"piece {seed}",
                    "player_id": str(player),
                    "is_human": str(player) != "Score",
                    "percepts": percepts.tolist(),
                }
            )
    return rows


def features_of(rows: list[dict], extractor: PianoFeatureExtractor) -> list[dict[str, torch.Tensor]]:
    """Descriptors of each row, without recordings."""
    return [{"descriptors": extractor(midi=row["midi"], score=row["score_midi"])["descriptors"][0]} for row in rows]


def write_assessor(folder: Path) -> Path:
    """Writes the checkpoint: random weights, statistics and intervals of the rows, and the population."""
    torch.manual_seed(0)
    corpus, checkpoint = folder / "corpus", folder / "checkpoint"
    corpus.mkdir(parents=True)
    extractor = PianoFeatureExtractor()
    rows = performance_rows(corpus)
    features = features_of(rows, extractor)
    model = PianoAssessmentModel(
        PianoAssessmentConfig(
            percept_names=list(PERCEPTS), descriptor_names=extractor.descriptor_names, hidden_size=16,
            intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_members=2, head_size=8,
        )
    ).eval()  # fmt: skip
    for parameter in model.heads.parameters():  # the last layer begins at zero, and all would be judged alike
        torch.nn.init.normal_(parameter, std=0.3)
    model.label_means.fill_(0.5)
    model.label_stds.fill_(0.1)
    model.embedding.fit(torch.stack([item["descriptors"] for item in features]))
    for inputs in INPUT_SETS:
        model.set_intervals(inputs, torch.full((len(PERCEPTS),), 0.5))
    model.save_pretrained(checkpoint)
    extractor.save_pretrained(checkpoint)
    write_population(build_population(rows, extractor, features), checkpoint)
    return checkpoint
