"""Train an n-gram language model for beam search, or take over an ARPA file, and say how well it predicts other texts.

    python train_scripts/train_language_model.py an4 --text-like model_cards/conformer-an4 --out runs/an4_words
    python train_scripts/train_language_model.py texts.txt --level character --order 8 --out runs/characters
    python train_scripts/train_language_model.py kenlm.arpa --text-like CHECKPOINT --out runs/brought

What it learns from is a corpus, a file with one text per line, or an ARPA file of words that another tool made. To be
published with a checkpoint, the files that it writes are put beside the checkpoint's own.
"""

import argparse
import string
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import AutoProcessor

from antiphon.eval.conditions import records_sha256
from antiphon.eval.selection import refuse_test_rows, select_split
from antiphon.eval.text_normalization import text_normalizer
from antiphon.processing.corpora import load_corpus
from antiphon.processing.language_model import CharacterLanguageModel, LanguageModel, WordLanguageModel
from antiphon.processing.language_ngram import END, UNKNOWN, BackoffNgrams
from antiphon.processing.tokenization_character import make_normalizer

ORDERS = {"word": 3, "character": 8}


def read_texts(source: str, split: str, conditions: Sequence[str], normalize: Callable[[str], str]) -> list[str]:
    """Reads normalised texts from a file with one per line, or from a corpus; those that are empty then are left out.

    Raises:
        ValueError: if rows are of a test split, or no text is left.
    """
    if Path(source).is_file():
        texts = Path(source).read_text(encoding="utf-8").splitlines()
    else:
        rows = select_split(load_corpus(source), split, conditions)
        refuse_test_rows(rows)
        texts = [text or "" for text in rows["text"]]
    normalised = [text for text in map(normalize, texts) if text]
    if len(normalised) < len(texts):
        print(f"left out: {len(texts) - len(normalised)} of {len(texts)} texts of {source}, which hold no letter")
    if not normalised:
        raise ValueError(f"{source} holds no text; expected a corpus with a `text` column or a file of lines.")
    return normalised


def read_arpa(path: str, normalize: Callable[[str], str]) -> WordLanguageModel:
    """Takes over an ARPA file of words, and says how many of them can never be recognised.

    Raises:
        ValueError: if none can.
    """
    ngrams = BackoffNgrams.read_arpa(path)
    words = ngrams.vocabulary - {END, UNKNOWN}
    unreachable = sorted(word for word in words if normalize(word) != word)
    if len(unreachable) == len(words):
        raise ValueError(
            f"no word of {path} is written as recognisers write them: {unreachable[:3]} would be "
            f"{[normalize(word) for word in unreachable[:3]]}; make the file from normalised texts."
        )
    if unreachable:
        print(f"never recognised: {len(unreachable)} of {len(words)} words of {path}, such as {unreachable[0]!r}")
    return WordLanguageModel.from_ngrams(ngrams, origin={"arpa": Path(path).name})


def train(texts: Sequence[str], level: str, order: int | None, spelling_order: int, **origin) -> LanguageModel:
    """Estimates a model of either level; its record says what from.

    Args:
        texts: Normalised.
        level: "word" or "character".
        order: Longest n-gram; the usual one of the level if None.
        spelling_order: Of a word model's n-grams of characters.
        origin: More for the record.
    """
    origin |= {
        "num_texts": len(texts),
        "num_words": sum(len(text.split()) for text in texts),
        "texts_sha256": records_sha256((text,) for text in texts),
    }
    if level == "character":
        return CharacterLanguageModel.train(texts, order or ORDERS[level], origin=origin)
    return WordLanguageModel.train(texts, order or ORDERS[level], spelling_order, origin=origin)


def describe_validation(model: LanguageModel, texts: Sequence[str]) -> str:
    """Perplexity on texts that the model was not trained on, and how many of their words it had never seen."""
    line = f"perplexity per word: {model.perplexity(texts):.2f} on {len(texts)} validation texts"
    if isinstance(model, WordLanguageModel):
        words = " ".join(texts).split()
        unknown = [word for word in words if word not in model.ngrams.vocabulary]
        line += f", {len(unknown)} of whose {len(words)} words were unknown"
    return line


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a corpus, a file with one text per line, or an ARPA file (*.arpa)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--split", default="train", help="of a corpus; a test split is refused")
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="rows of a corpus; also !=")
    parser.add_argument("--level", choices=sorted(ORDERS), default="word")
    parser.add_argument("--order", type=int, help="longest n-gram; 3 words or 8 characters if left out")
    parser.add_argument("--spelling-order", type=int, default=4, help="of the characters of words that are unknown")
    parser.add_argument("--text-like", metavar="CHECKPOINT", help="checkpoint whose form of text is learnt")
    parser.add_argument(
        "--validation", metavar="SOURCE", help="corpus or file of other texts; SOURCE if only rows differ"
    )
    parser.add_argument("--validation-split", help="of that corpus; --split if left out")
    parser.add_argument("--validation-where", nargs="+", default=[], metavar="COLUMN=VALUE")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads texts, estimates the model, measures it on other texts, writes it."""
    options = parse_arguments(arguments)
    normalize = make_normalizer(string.ascii_lowercase + string.digits + "'").normalize_str
    if options.text_like:
        processor = AutoProcessor.from_pretrained(options.text_like, trust_remote_code=True)
        normalize, _ = text_normalizer(processor.tokenizer)
    try:
        if options.source.endswith(".arpa"):
            model = read_arpa(options.source, normalize)
        else:
            texts = read_texts(options.source, options.split, options.where, normalize)
            rows = {} if Path(options.source).is_file() else {"split": " ".join([options.split, *options.where])}
            origin = {"source": Path(options.source).name, **rows}
            model = train(texts, options.level, options.order, options.spelling_order, **origin)
        sizes = ", ".join(f"{len(table.probabilities)} n-grams" for table in model.tables.values())
        print(f"{model.describe()}: {sizes}")
        if options.validation or options.validation_split or options.validation_where:
            others = read_texts(
                options.validation or options.source,
                options.validation_split or options.split,
                options.validation_where,
                normalize,
            )
            print(describe_validation(model, others))
    except ValueError as error:
        sys.exit(f"error: {error}")
    model.save(options.out)
    print(f"language model: {options.out}")


if __name__ == "__main__":
    main()
