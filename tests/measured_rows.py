"""Result rows measured on made-up transcripts, for tests of what reads them."""

import pandas as pd

from antiphon.eval.conditions import records_sha256
from antiphon.eval.recognition_scores import score_items, summarize_items, training_claims
from antiphon.eval.result_rows import write_row

WORDS = ["one", "two", "three", "four"]


def measure(folder, name, wrong, speakers, *, known=0, constant="one", nearest=None, seeds=(), **conditions):
    """Write the row of a recogniser that hears four words of every speaker and mistakes the first few.

    Args:
        wrong: how many of the four words it mistakes, by speaker.
        speakers: who speaks.
        known: how many of the speakers are in training.
        constant: what the baseline that hears nothing answers.
        nearest: what a nearest template answers to each of the four words, if it is a baseline too.
        seeds: of several trainings, each of which answered the same; none: one training without a seed.
        conditions: overrides of the row's conditions.

    Returns:
        The path of the row.
    """
    speaker_ids = [speaker for speaker in speakers for _ in WORDS]
    item_ids = [f"{speaker}_{word}.wav" for speaker in speakers for word in WORDS]
    references = WORDS * len(speakers)
    hypotheses = ["noise" if i < wrong[s] else word for s in speakers for i, word in enumerate(WORDS)]
    answers = {"best_constant_transcript": [constant] * len(references)}
    if nearest is not None:
        answers["nearest_template"] = list(nearest) * len(speakers)
    items = score_items(item_ids, speaker_ids, references, hypotheses, answers, [0.5] * len(references))
    if seeds:
        items = pd.concat([items.assign(seed=seed) for seed in seeds], ignore_index=True)
    summary = summarize_items(items)
    row = {
        "benchmark": name,
        "task": "automatic-speech-recognition",
        "dataset": {
            "name": "words",
            "license": "CC0-1.0",
            "split": "test",
            "num_items": len(item_ids),
            "num_speakers": len(speakers),
            "hours": len(item_ids) * 0.5 / 3600,
        },
        "checkpoint_sha256": records_sha256([(str(folder),)]),
        "model": {"parameters": 100, "bytes": 400},
        "metrics": summary["metrics"],
        "primary_metric": summary["primary_metric"],
        "groups": summary["groups"],
        "baselines": summary["baselines"],
        "claims": summary["claims"] + training_claims(known, len(speakers)),
        "seeds": summary["seeds"],
        "conditions": {
            "corpus_sha256": records_sha256(zip(item_ids)),
            "split_sha256": records_sha256(zip(item_ids, references)),
            "item_ids_sha256": records_sha256(zip(item_ids)),
            "train_split_sha256": None,
            "group_by": summary["group_by"],
            "text_normalizer": "lower case",
            "sampling_rate": 8000,
            "resample": False,
            "decoding": "greedy",
            "judges": [],
            "audit": {"num_shared_groups": known},
            "packages": {"jiwer": "4", "torch": "2"},
            "hardware": "abacus",
            "date": "2026-01-01",
            **conditions,
        },
        "speed": {"real_time_factor": 0.1, "audio_seconds": len(items) * 0.5},
    }
    return write_row(row, items, folder)
