"""Find out why a checkpoint judges piano performances as it does, where it errs, and how it takes to something new.

    python eval/understand_piano_assessment.py runs/piano/checkpoint --protocol performers --out understanding

writes `understanding.md` with its figures, and `understanding.json` with every number. The checkpoint must have been
trained on the training part of the fold.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
import os
from collections.abc import Sequence

import numpy as np

from antiphon.eval import understanding_figures as figures
from antiphon.eval.figures import save_figure
from antiphon.eval.piano_attributions import LATTICE_TENSORS, attention_rollout, integrated_gradients, occlusion
from antiphon.eval.result_rows import write_atomically
from antiphon.eval.understanding_measures import (
    REFERENCE,
    Domain,
    Subject,
    load_subject,
    measure_domains,
    measure_errors,
    measure_importance,
    measure_maps,
    measure_probes,
    measure_raters,
)
from antiphon.eval.understanding_report import report
from antiphon.processing.corpora import item_ids, load_corpus, load_ratings, render_corpus, select_ids
from antiphon.processing.corpora.protocols import PROTOCOLS, load_protocol
from antiphon.processing.percepts import PERCEPTS

SLOW_SOUNDFONTS = {"MuseScore_General": 30}  # its samples are compressed: 5 s a file
GRADIENT_STEPS = 64


def understand(subject: Subject, domains: Sequence[Domain], percept: str, out: str | Path) -> dict:
    """Measure everything, and write numbers, figures and the report.

    Args:
        subject: Of `load_subject`.
        domains: Other renderings.
        percept: That maps are of.
        out: Folder to write to.

    Returns:
        What `understanding.json` holds.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    place, views = _example(subject, percept)
    measured = {
        "percept": percept,
        "num_items": len(subject.test),
        "num_excerpts": len(set(subject.excerpts)),
        "example": {
            "item_id": item_ids(subject.test)[place],
            "gradients": {
                lattice: {"difference": view["gradients"].difference, "gap": view["gradients"].gap}
                for lattice, view in views.items()
            },
        },
        "maps": measure_maps(subject, percept),
        "importance": measure_importance(subject),
        "probes": measure_probes(subject),
        "errors": measure_errors(subject),
        "raters": measure_raters(subject),
        "domains": {},
        "instruments": {},
    }
    if subject.hears:
        measured["domains"], measured["instruments"] = measure_domains(subject, domains)
    drawn = {
        "importance": figures.draw_importance(measured["importance"]),
        "errors": figures.draw_errors(measured["errors"]),
    }
    if views:
        drawn["maps"] = figures.draw_maps(views, percept, subject.extractor.frame_rate)
        drawn["sanity"] = figures.draw_sanity(measured["maps"])
        drawn["probes"] = figures.draw_probes(measured["probes"])
    curves = {"new raters": measured["raters"], **measured["instruments"]}
    if curves := {name: curve for name, curve in curves.items() if curve}:
        drawn["few_shot"] = figures.draw_few_shot(curves)
    if measured["domains"]:
        drawn["domains"] = figures.draw_domains(measured["domains"])
    for name, figure in drawn.items():
        save_figure(figure, out / name)
    # JSON has no word for what is not finite.
    finite = json.loads(json.dumps(measured), parse_constant=lambda _: None)
    _write(out / "understanding.json", json.dumps(finite, indent=1))
    _write(out / "understanding.md", report(measured, list(drawn)))
    return finite


def _example(subject: Subject, percept: str) -> tuple[int, dict[str, dict]]:
    """A performance of median length and, by lattice, its levels and maps."""
    durations = np.array(subject.test["duration_seconds"][:])
    place = int(np.argsort(durations)[len(durations) // 2])
    inputs, model, views = subject.features[place], subject.model, {}
    for lattice in model.lattices:
        levels = inputs[LATTICE_TENSORS[lattice][0]][0].numpy()
        views[lattice] = {
            # Of a piano roll, keys that are held and strings that sound.
            "levels": levels.reshape(len(levels), -1, model.config.num_pitch_bins)[:, -2:].sum(axis=1),
            "rollout": attention_rollout(model, inputs, lattice),
            "gradients": integrated_gradients(model, inputs, percept, lattice, GRADIENT_STEPS),
            "occlusion": occlusion(model, inputs, percept, lattice),
        }
    return place, views


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="folder of the checkpoint, or its name on the Hub")
    parser.add_argument("--corpus", default="percepiano", help="as load_corpus takes it")
    parser.add_argument("--protocol", required=True, choices=PROTOCOLS)
    parser.add_argument("--fold", help="that the checkpoint was trained for; needed where a protocol has several")
    parser.add_argument("--percept", default="pedal_sparse_saturated", choices=PERCEPTS, help="that maps are of")
    parser.add_argument("--soundfonts", default="TimGM6mb,MuseScore_General", help="other instruments, with commas")
    parser.add_argument("--room", type=Path, help="audio file with the response of a room to an impulse")
    parser.add_argument("--out", type=Path, required=True, help="folder for report, figures and numbers")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the fold, examine the checkpoint, say where the report is."""
    options = parse_arguments(arguments)
    folds = load_protocol(options.protocol)
    fold = options.fold or next(iter(folds))
    if fold not in folds or (options.fold is None and len(folds) > 1):
        sys.exit(f"error: `--fold` is {options.fold!r}; the protocol {options.protocol} has {', '.join(folds)}.")
    test = render_corpus(select_ids(load_corpus(options.corpus), folds[fold]["test"]), soundfont=REFERENCE)
    subject = load_subject(options.checkpoint, test, load_ratings(Path(test[0]["midi"]).parents[1]), seed=options.seed)
    domains = [
        Domain(name, {"soundfont": name}, SLOW_SOUNDFONTS.get(name)) for name in options.soundfonts.split(",") if name
    ]
    if options.room:
        domains.append(Domain(f"room ({options.room.stem})", {"soundfont": REFERENCE, "room": options.room}))
    understand(subject, domains, options.percept, options.out)
    print(f"report: {os.fspath(options.out / 'understanding.md')}")


if __name__ == "__main__":
    main()
