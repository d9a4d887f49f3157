"""Lays the phones of known texts over recordings."""

import hashlib
import json
from collections import Counter

import torch
from datasets import Dataset
from datasets.utils import tqdm

from antiphon.modeling.modeling_voice_converter import weights_sha256

from .content_data import ContentDataset
from .content_phones import SILENCE, align, aligned_engine

# Phones rarer than this share of a corpus cannot be learnt.
LEAST_SHARE = 5e-4


def common_phones(corpus: Dataset) -> list[str]:
    """The phones of a corpus that are frequent enough to be learnt, sorted; the silence is among them."""
    counts = Counter(phone for phones in corpus["phones"] for phone in phones)
    total = sum(counts.values())
    return sorted({SILENCE} | {phone for phone, count in counts.items() if count >= LEAST_SHARE * total})


def alignment_digest(recordings: Dataset, model) -> str:
    """What an alignment follows from: the weights of the model, and the recordings with their texts."""
    parts = [weights_sha256(model), recordings["file_name"][:], recordings["text"][:]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@torch.no_grad()
def align_recordings(recordings: Dataset, model, processor) -> dict[str, list]:
    """Aligns every recording with the pronunciation of its text.

    Args:
        recordings: With audio, text and duration_seconds.
        model: A `ContentEncoderForCTC` with a head for phones.
        processor: Its features.

    Returns:
        `phones` and `phone_starts` (seconds), one list for each recording; empty where the text does not fit.
    """
    names = model.config.phone_names
    ids = {name: index for index, name in enumerate(names)}
    extractor = processor.feature_extractor
    frame_seconds = model.config.encoder_config.subsampling_factor * extractor.hop_length / extractor.sampling_rate
    dataset = ContentDataset(recordings, processor, phone_names=[], max_seconds=float("inf"))
    places = {file_name: index for index, file_name in enumerate(dataset.corpus["file_name"])}
    was_training = model.training
    model.eval()
    columns = {"phones": [], "phone_starts": []}
    for row in tqdm(recordings.select_columns(["file_name", "text"]), desc="aligning"):
        path = []
        if row["file_name"] in places:
            features = dataset[places[row["file_name"]]]["clean_features"]
            log_probabilities = model(features[None]).phone_logits[0].float().log_softmax(-1)
            spoken = [ids[phone] for phone in aligned_engine().pronounce(row["text"]) if phone in ids]
            path = align(log_probabilities, spoken, ids[SILENCE])
        begins = [frame for frame in range(len(path)) if frame == 0 or path[frame] != path[frame - 1]]
        columns["phones"].append([names[path[frame]] for frame in begins])
        columns["phone_starts"].append([frame * frame_seconds for frame in begins])
    model.train(was_training)
    return columns
