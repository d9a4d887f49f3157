"""What a study needs to know of each kind of model: how its recipe is resolved, how it is trained and measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datasets import Dataset

from antiphon.eval import assessment_scores, voice_scores
from antiphon.eval.assessment_items import Predictions
from antiphon.eval.benchmark_piano_assessment import benchmark_piano_assessment
from antiphon.eval.benchmark_recognition import benchmark_recognition
from antiphon.eval.benchmark_voice_conversion import measure_checkpoint
from antiphon.eval.piano_assessor import load_assessor
from antiphon.eval.recognition_scores import METRIC_COLUMNS
from antiphon.processing.corpora.rendering import render_corpus, rendering_conditions
from antiphon.train_scripts import (
    train_ast_assessment,
    train_conformer,
    train_piano_assessment,
    train_voice_converter,
)
from antiphon.train_scripts.assessment_data import COLUMNS, renderings_of
from antiphon.train_scripts.run_folder import RunFolder
from antiphon.train_scripts.sources import load_sources

LEXICON = "lexicon"
DECODINGS = ("greedy", LEXICON)


@dataclass(frozen=True)
class Task:
    """One kind of model, as a study sees it.

    Args:
        resolve: Fills in a recipe's defaults and refuses what nothing reads.
        train: Trains a resolved recipe, or goes on with it, and returns its run folder.
        measure: Measures the run's checkpoint on test items and writes one row for each decoding into its results:
            `measure(run, test, name=..., corpus=..., split=..., decodings=..., protocol=..., speaker_dependent=...)`.
            `test` is None where the benchmark has lists of its own; `speaker_dependent` says that the tested speakers
            are meant to be in training.
        metrics: What its rows hold.
    """

    resolve: Callable[[dict], dict]
    train: Callable[[dict], RunFolder]
    measure: Callable[..., None]
    metrics: Sequence[str]


def benchmark_name(name: str, decoding: str) -> str:
    """Name of a benchmark under a decoding; the plain name is the greedy one's."""
    return f"{name}_{decoding}" if decoding == LEXICON else name


def measure_recognition(
    run: RunFolder,
    test: Dataset,
    *,
    name: str,
    corpus: str,
    split: str,
    decodings: Sequence[str],
    protocol: str | None,
    speaker_dependent: bool = False,
) -> None:
    """Measures a recogniser greedily, by choosing among the training texts, or both; speech has no stored protocols."""
    recipe = run.recipe
    train = load_sources(recipe["data"]["train"], "data.train")
    for decoding in decodings:
        benchmark_recognition(
            run.checkpoint,
            test,
            name=benchmark_name(name, decoding),
            corpus=Path(corpus).name,
            split=split,
            train=train,
            out=run.results,
            lexicon=sorted(set(train["text"])) if decoding == LEXICON else (),
            training_seed=recipe["run"]["seed"],
            speaker_dependent=speaker_dependent,
            resample=recipe["data"]["resample"],
        )


def measure_assessment(
    run: RunFolder,
    test: Dataset,
    *,
    name: str,
    corpus: str,
    split: str,
    decodings: Sequence[str],
    protocol: str | None,
    load: Callable[[RunFolder], Callable[[Dataset], Predictions]],
    speaker_dependent: bool = False,
) -> None:
    """Measures what `load` makes of a run by the inputs that it was trained with; it has no decodings."""
    data = run.recipe["data"]
    train = load_sources(data["train"], "data.train", COLUMNS)
    rendering = None
    if "audio" in data["inputs"]:
        heard = renderings_of(data)[0]
        train, test = (render_corpus(rows, **heard) for rows in (train, test))
        rendering = rendering_conditions(**heard)
    benchmark_piano_assessment(
        load(run),
        train,
        test,
        name=name,
        corpus=Path(corpus).name,
        split=split,
        out=run.results,
        protocol=protocol,
        inputs=data["inputs"],
        rendering=rendering,
        checkpoint=run.checkpoint,
        training_seed=run.recipe["run"]["seed"],
    )


def measure_voice_conversion(
    run: RunFolder,
    test: None,
    *,
    name: str,
    corpus: str,
    split: str,
    decodings: Sequence[str],
    protocol: str | None,
    speaker_dependent: bool = False,
) -> None:
    """Measures a converter on the stored pairs of validation against the source unchanged and what WORLD does.

    Studies choose among models, so that they must not hear the test.
    """
    measure_checkpoint(
        run.checkpoint,
        name=name,
        out=run.results,
        side="validation",
        with_quality=False,
        baselines=("unchanged_input", "world_pitch_and_envelope"),
        training_seed=run.recipe["run"]["seed"],
    )


def _assessor(run: RunFolder) -> Callable[[Dataset], Predictions]:
    return load_assessor(run.checkpoint, inputs=run.recipe["data"]["inputs"])


TASKS = {
    "recognition": Task(train_conformer.resolve, train_conformer.train, measure_recognition, tuple(METRIC_COLUMNS)),
    "piano_assessment": Task(
        train_piano_assessment.resolve,
        train_piano_assessment.train,
        partial(measure_assessment, load=_assessor),
        tuple(assessment_scores.METRIC_COLUMNS),
    ),
    "piano_assessment_ast": Task(
        train_ast_assessment.resolve,
        train_ast_assessment.train,
        partial(measure_assessment, load=train_ast_assessment.load_peer),
        tuple(assessment_scores.METRIC_COLUMNS),
    ),
    "voice_conversion": Task(
        train_voice_converter.resolve,
        train_voice_converter.train,
        measure_voice_conversion,
        tuple(voice_scores.METRIC_COLUMNS),
    ),
}
