"""Result rows measured on made-up transcripts, for tests of what reads them."""

from antiphon.eval.conditions import records_sha256
from antiphon.eval.recognition_scores import score_items, summarize_items, training_claims
from antiphon.eval.result_rows import write_row

WORDS = ["one", "two", "three", "four"]


def measure(folder, name, wrong, speakers, *, known=0, constant="one", **conditions):
    """Write the row of a recogniser that hears four words of every speaker and mistakes the first few.

    Args:
        wrong: how many of the four words it mistakes, by speaker.
        speakers: who speaks.
        known: how many of the speakers are in training.
        conditions: overrides of the row's conditions.

    Returns:
        The path of the row.
    """
    speaker_ids = [speaker for speaker in speakers for _ in WORDS]
    item_ids = [f"{speaker}_{word}.wav" for speaker in speakers for word in WORDS]
    references = WORDS * len(speakers)
    hypotheses = ["noise" if i < wrong[s] else word for s in speakers for i, word in enumerate(WORDS)]
    items = score_items(item_ids, speaker_ids, references, hypotheses, constant, [0.5] * len(references))
    summary = summarize_items(items)
    row = {
        "benchmark": name,
        "task": "automatic-speech-recognition",
        "dataset": {
            "name": "words",
            "license": "CC0-1.0",
            "split": "test",
            "num_items": len(items),
            "num_speakers": len(speakers),
            "hours": len(items) * 0.5 / 3600,
        },
        "checkpoint_sha256": records_sha256([(str(folder),)]),
        "model": {"parameters": 100, "bytes": 400},
        "metrics": summary["metrics"],
        "groups": summary["groups"],
        "baselines": summary["baselines"],
        "claims": summary["claims"] + training_claims(known, len(speakers)),
        "conditions": {
            "corpus_sha256": records_sha256(zip(item_ids)),
            "split_sha256": records_sha256(zip(item_ids, references)),
            "train_split_sha256": None,
            "group_by": summary["group_by"],
            "text_normalizer": "lower case",
            "sampling_rate": 8000,
            "resample": False,
            "decoding": "greedy",
            "audit": {"num_shared_groups": known},
            "packages": {"torch": "2"},
            "hardware": "abacus",
            "date": "2026-01-01",
            **conditions,
        },
        "speed": {"real_time_factor": 0.1, "audio_seconds": len(items) * 0.5},
    }
    return write_row(row, items, folder)
