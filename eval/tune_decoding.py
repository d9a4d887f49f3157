"""Choose language model, weight and length bonus of beam search on validation items.

    python eval/tune_decoding.py CHECKPOINT --corpus an4 --split train --where "speaker_id=a|b" \\
        --language-model runs/an4_words runs/an4_characters --out runs/an4_decoding

The model hears every item once; a grid of settings is then decoded from what it heard. OUT gets the language model
with the settings of the lowest WER (ties: lowest CER, then smallest weight), and `tuning.json`, the whole grid. Where
OUT is a checkpoint, its processor stores it, in code of this version. Test rows are refused.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import itertools
import json
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

import antiphon.modeling  # noqa: F401, registers the classes whose code `store` writes
from antiphon.eval.benchmark_recognition import load_recogniser
from antiphon.eval.conditions import file_sha256, records_sha256
from antiphon.eval.metric_loading import load_metric
from antiphon.eval.selection import refuse_test_rows, select_split
from antiphon.eval.transcription import length_batches, log_probabilities, output_mask
from antiphon.processing import ConformerProcessor
from antiphon.processing.audio_io import read_audio
from antiphon.processing.corpora import item_ids, load_corpus
from antiphon.processing.decoding_beam import BeamSearch
from antiphon.processing.language_model import LanguageModel, load_language_model

WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
BONUSES = (0.0, 0.5, 1.0, 1.5, 2.0)


@torch.inference_mode()
def hear(model, processor, rows: Dataset) -> list[np.ndarray]:
    """Return what a CTC model hears in each item: (frames, vocab_size), natural logarithms."""
    rate = processor.feature_extractor.sampling_rate
    waveforms = [read_audio(audio["bytes"] or audio["path"], sampling_rate=rate)[0] for audio in rows["audio"]]
    heard = [None] * len(waveforms)
    for batch in length_batches([len(waveform) / rate for waveform in waveforms]):
        inputs = processor(audio=[waveforms[index] for index in batch], sampling_rate=rate)
        output = model(**inputs)
        mask = output_mask(model, inputs["attention_mask"], output)
        for index, item in zip(batch, log_probabilities(output.logits, mask)):
            heard[index] = item
    return heard


def try_settings(
    heard: Sequence[np.ndarray],
    references: Sequence[str],
    tokenizer,
    language_models: Sequence[LanguageModel],
    *,
    weights: Sequence[float] = WEIGHTS,
    bonuses: Sequence[float] = BONUSES,
    num_beams: int = 32,
) -> list[dict]:
    """Decode all items with every setting.

    Args:
        heard: (items,) from `hear`.
        references: (items,) normalised.
        tokenizer: of the checkpoint.
        language_models: each with every weight and bonus; beam search without any is tried once, too.

    Returns:
        For each setting `language_model` (its index or None), `description`, `weight`, `length_bonus`, `wer`, `cer`.
    """
    settings = [(None, 0.0, 0.0), *itertools.product(range(len(language_models)), weights, bonuses)]
    error_rates, results = load_metric("error_rates"), []
    for index, weight, bonus in tqdm(settings, desc="tuning", unit="setting", disable=None):
        model = None if index is None else language_models[index]
        search = BeamSearch.for_tokenizer(
            tokenizer, num_beams=num_beams, language_model=model, weight=weight, length_bonus=bonus
        )
        rates = error_rates.compute(predictions=[search(item)[0].text for item in heard], references=references)
        results.append(
            {
                "language_model": index,
                "description": "no language model" if model is None else model.describe(),
                "weight": weight,
                "length_bonus": bonus,
                "wer": rates["wer"],
                "cer": rates["cer"],
            }
        )
    return results


def best_setting(results: Sequence[dict]) -> dict:
    """Return the setting with the lowest WER; of equal ones that with the lowest CER, then with the smallest weight."""
    return min(results, key=lambda result: (result["wer"], result["cer"], result["weight"], result["length_bonus"]))


def store(model: LanguageModel, folder: Path) -> None:
    """Write a language model into a folder; into a checkpoint together with the code that reads it."""
    if (folder / "processor_config.json").is_file():
        # Not with the code that is there, which may be older than language models.
        processor = ConformerProcessor.from_pretrained(folder, trust_remote_code=False)
        processor.language_model = model
        processor.save_pretrained(folder)
    else:
        model.save(folder)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint")
    parser.add_argument("--corpus", required=True, help="as load_corpus takes it")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="validation rows; also !=")
    parser.add_argument("--language-model", nargs="+", required=True, metavar="FOLDER", help="one or more to try")
    parser.add_argument("--weights", nargs="+", type=float, default=WEIGHTS)
    parser.add_argument("--bonuses", nargs="+", type=float, default=BONUSES)
    parser.add_argument("--beams", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True, help="folder for the choice; a checkpoint to store it there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Hear the validation items, try the grid, write the choice."""
    options = parse_arguments(arguments)
    try:
        rows = select_split(load_corpus(options.corpus), options.split, options.where)
        refuse_test_rows(rows)
        language_models = [load_language_model(folder) for folder in options.language_model]
    except ValueError as error:
        sys.exit(f"error: {error}")
    model, processor = load_recogniser(options.checkpoint)
    references = [processor.tokenizer.normalize_text(text) for text in rows["text"]]
    results = try_settings(
        hear(model, processor, rows),
        references,
        processor.tokenizer,
        language_models,
        weights=options.weights,
        bonuses=options.bonuses,
        num_beams=options.beams,
    )
    best = best_setting(results)
    for result in sorted(results, key=lambda result: (result["wer"], result["cer"])):
        print(format_result(result))
    if best["language_model"] is None:
        sys.exit("no language model is better than none on these items; nothing was written")
    chosen = language_models[best["language_model"]]
    chosen.weight, chosen.length_bonus = best["weight"], best["length_bonus"]
    chosen.origin["tuned"] = {
        "checkpoint_sha256": file_sha256(options.checkpoint / "model.safetensors"),
        "corpus": Path(options.corpus).name,
        "split": " ".join([options.split, *options.where]),
        "split_sha256": records_sha256(zip(item_ids(rows), references)),
        "beams": options.beams,
        "num_settings": len(results),
        "wer": best["wer"],
        "cer": best["cer"],
    }
    store(chosen, options.out)
    (options.out / "tuning.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"chosen on {len(rows)} items, whose WER is therefore optimistic: {format_result(best)}\n{options.out}")


def format_result(result: dict) -> str:
    """Return one setting and its error rates as a line."""
    return (
        f"WER {result['wer']:7.2%}  CER {result['cer']:7.2%}  {result['description']}, "
        f"weight {result['weight']:g}, length bonus {result['length_bonus']:g}"
    )


if __name__ == "__main__":
    main()
