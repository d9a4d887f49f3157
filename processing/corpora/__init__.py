"""Where training data comes from: one loader for every source, one schema, splits and their audit."""

import os
import re
from pathlib import Path

from datasets import Dataset

from .audit import SplitAudit, SplitLeakageError, audit_split
from .common_voice import is_release, load_common_voice, load_release
from .folder import METADATA_NAME, load_folder
from .hub import load_hub
from .hub_voices import HUB_VOICES, load_libritts, load_vctk
from .leakage_probe import LeakageProbe, leakage_probe
from .manifest import load_manifest, manifest_text
from .percepiano import load_percepiano, load_ratings
from .rendering import RenderingError, render_corpus, render_midi, rendering_conditions
from .schema import STANDARD_FEATURES, CorpusError, conform, decode, total_hours
from .splits import Fold, item_ids, leave_one_group_out, load_split, save_split, select_ids, split_by_group
from .streaming import CorpusStream
from .synthetic import SYNTHETIC_CORPORA, load_synthetic
from .synthetic_engine import SynthesisError
from .synthetic_sentences import SENTENCES, load_sentences

__all__ = [
    "STANDARD_FEATURES",
    "CorpusError",
    "CorpusStream",
    "Fold",
    "LeakageProbe",
    "RenderingError",
    "SplitAudit",
    "SplitLeakageError",
    "SynthesisError",
    "audit_split",
    "conform",
    "decode",
    "item_ids",
    "leakage_probe",
    "leave_one_group_out",
    "load_common_voice",
    "load_corpus",
    "load_folder",
    "load_hub",
    "load_libritts",
    "load_manifest",
    "load_percepiano",
    "load_ratings",
    "load_release",
    "load_sentences",
    "load_split",
    "load_synthetic",
    "load_vctk",
    "manifest_text",
    "render_corpus",
    "render_midi",
    "rendering_conditions",
    "save_split",
    "select_ids",
    "split_by_group",
    "total_hours",
]

# Folders of these names hold more than `load_folder` understands.
_OWN_LOADERS = {"percepiano": load_percepiano}
_HUB_CORPORA = {**HUB_VOICES, "common_voice": load_common_voice}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def load_corpus(name: str | os.PathLike, **options) -> Dataset:
    """Load a corpus by name.

    Args:
        name: In this order: a folder with a `metadata.csv`, or one language of an unpacked release of Common Voice; a
            manifest, `manifests/train.csv` of a run; one of `SYNTHETIC_CORPORA` or "synthetic_sentences"; the name of
            such a folder inside `$ANTIPHON_DATA`; "vctk", "libritts" or "common_voice", from the Hub; the id of a
            dataset on the Hub, "owner/name" or "owner/name:config".
        options: Of `load_folder`, `load_release`, `load_manifest`, `load_synthetic`, `load_sentences`, `load_vctk`,
            `load_libritts`, `load_common_voice` or `load_hub`; all of them know `split`.

    Returns:
        A dataset whose first columns are those of `STANDARD_FEATURES`: audio ({"bytes", "path"}, see `decode`), text,
        speaker_id, duration_seconds, source, split, license, file_name. What a corpus lacks is null.

    Raises:
        CorpusError: Nothing has that name, or what has it is malformed.
        SynthesisError: A synthetic corpus cannot be made.
    """
    name = os.fspath(name)
    data_root = os.environ.get("ANTIPHON_DATA")
    if _is_corpus(Path(name)):
        return _load_local(Path(name), options)
    if name.endswith(".csv") and Path(name).is_file():
        return load_manifest(load_corpus, Path(name), **options)
    if name in SYNTHETIC_CORPORA:
        return load_synthetic(name, **options)
    if name == SENTENCES:
        return load_sentences(load_corpus, **options)
    if data_root and _is_corpus(Path(data_root) / name):
        return _load_local(Path(data_root) / name, options)
    if name in _HUB_CORPORA:
        return _HUB_CORPORA[name](**options)
    if _HUB_ID.fullmatch(name) and not Path(name).exists():
        return load_hub(name, **options)
    named = ", ".join((*SYNTHETIC_CORPORA, SENTENCES, *_HUB_CORPORA))
    raise CorpusError(
        f"no corpus {name!r}. It can be a folder with a {METADATA_NAME} ({Path(name).resolve()} has none); one "
        "language of Common Voice, unpacked, with its clips/ and train.tsv; the manifest of a run; one of "
        f"{named}; such a folder inside $ANTIPHON_DATA ({data_root or 'not set'}); or the id of a Hub dataset, "
        "owner/name."
    )


def _is_corpus(folder: Path) -> bool:
    return (folder / METADATA_NAME).is_file() or is_release(folder)


def _load_local(folder: Path, options: dict) -> Dataset:
    if not (folder / METADATA_NAME).is_file():
        return load_release(folder, **options)
    return _OWN_LOADERS.get(folder.resolve().name, load_folder)(folder, **options)
