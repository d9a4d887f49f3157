"""The corpora that a recipe names, chosen row by row and joined."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from antiphon.eval.selection import where
from antiphon.eval.training_speakers import training_data_file
from antiphon.processing.corpora import load_corpus, load_split, select_ids

from .mixing import MIXING_DEFAULTS, choose_rows
from .recipes import RecipeError, with_defaults

SOURCE_DEFAULTS = {"name": None, "where": [], "ids": None, "options": {}, **MIXING_DEFAULTS}
IDS_DEFAULTS = {"file": None, "split": "train"}
SPEECH_COLUMNS = ("file_name", "audio", "text", "speaker_id", "duration_seconds", "source", "split", "license")


@dataclass
class Mixture:
    """The rows of all sources, and for each row what `load_corpus` loads its corpus by, as JSON."""

    rows: Dataset
    origins: list[str]


def load_sources(sources: list[dict], section: str, columns: Sequence[str] = SPEECH_COLUMNS) -> Dataset:
    """The rows of `load_mixture`."""
    return load_mixture(sources, section, columns).rows


def load_mixture(sources: list[dict], section: str, columns: Sequence[str] = SPEECH_COLUMNS) -> Mixture:
    """Joins the corpora that a recipe names.

    Args:
        sources: One mapping each: `name` and `options` for `load_corpus`; rows are chosen by `where`, a list of
            conditions such as `split=train` or `speaker_id!=george`, and by `ids`, the `file` of a stored split and
            the name of its `split`; of these rows `count` are drawn as `choose_rows` tells.
        section: Part of the recipe, for error messages.
        columns: That the model needs.

    Raises:
        RecipeError: for an unknown key, no corpus, or too few rows.
        ValueError: for an unknown column, or conditions that leave nothing.
    """
    if not sources:
        raise RecipeError(f"`{section}` names no corpus; give a list such as `- name: fsdd`.")
    parts, origins = [], []
    for source in sources:
        source = with_defaults(source, SOURCE_DEFAULTS, f"`{section}`")
        corpus = load_corpus(source["name"], **source["options"])
        if source["ids"]:
            ids = with_defaults(source["ids"], IDS_DEFAULTS, f"`ids` of `{section}`")
            corpus = select_ids(corpus, load_split(ids["file"])[ids["split"]])
        mixing = {key: source[key] for key in MIXING_DEFAULTS}
        part = choose_rows(where(corpus, source["where"]), f"{source['name']} in `{section}`", **mixing)
        parts.append(part.select_columns(list(columns)))
        origins += [json.dumps({"name": source["name"], **source["options"]}, default=str)] * len(part)
    return Mixture(concatenate_datasets(parts), origins)


def describe_sources(corpus: Dataset) -> list[dict]:
    """What a model card says of its training data: one entry per source, with its licences, extent and speakers."""
    table = corpus.select_columns(["source", "license", "split", "speaker_id", "duration_seconds"]).to_pandas()
    return [
        {
            "name": name,
            "license": ", ".join(sorted(rows["license"].unique())),
            "split": ", ".join(sorted(rows["split"].dropna().unique())),
            "num_items": len(rows),
            "num_speakers": rows["speaker_id"].nunique(),
            "speakers": sorted(rows["speaker_id"].dropna().unique()),
            "hours": round(rows["duration_seconds"].sum() / 3600, 3),
        }
        for name, rows in table.groupby(table["source"].fillna("source not stated"))
    ]


def describe_parts(own: list[dict], parts: Iterable[str | Path | None]) -> list[dict]:
    """What a model composed of trained parts was trained on: its own corpora and theirs, as `describe_sources` tells.

    Of a corpus that several heard, the largest extent is told, and the speakers of all.

    Args:
        own: Of the composing itself.
        parts: Folders of the parts, None where there is none; a part whose run does not say what it heard is listed
            without speakers.
    """
    described = {corpus["name"]: dict(corpus) for corpus in own}
    for part in filter(None, parts):
        unknown = {"name": f"unknown, of {'/'.join(Path(part).parts[-2:])}", "license": "not stated"}
        file = training_data_file(part)
        for corpus in json.loads(file.read_text(encoding="utf-8")) if file else [unknown]:
            first = described.setdefault(corpus["name"], dict(corpus))
            for name in ("license", "split"):
                told = ", ".join(entry[name] for entry in (first, corpus) if entry.get(name))
                if told:
                    first[name] = ", ".join(sorted(set(told.split(", "))))
            for name in ("num_items", "hours"):
                if name in corpus:
                    first[name] = max(corpus[name], first.get(name, 0))
            if "speakers" in corpus and "speakers" in first:
                first["speakers"] = sorted({*corpus["speakers"], *first["speakers"]})
                first["num_speakers"] = len(first["speakers"])
            else:
                first.pop("speakers", None)
    return list(described.values())
