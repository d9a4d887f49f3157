"""The whole examination of a tiny checkpoint: files, numbers that JSON can hold, and what the report says of them."""

import json

import pandas as pd
import pytest
from small_assessor import recorded_performances, small_model

from antiphon.eval.understand_piano_assessment import main, understand
from antiphon.eval.understanding_measures import Domain, load_subject
from antiphon.eval.understanding_report import report
from antiphon.processing.feature_extraction_piano import PianoFeatureExtractor
from antiphon.processing.percepts import PERCEPTS


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examined")
    small_model(patch_frames=32).save_pretrained(folder / "checkpoint")
    PianoFeatureExtractor().save_pretrained(folder / "checkpoint")
    rows = recorded_performances(folder / "corpus")
    ratings = pd.DataFrame(
        [
            (user, name, percept, 1 + (user + place) % 7)
            for user in range(3)
            for name in rows["file_name"][:]
            for place, percept in enumerate(PERCEPTS)
        ],
        columns=["user", "file_name", "percept", "rating"],
    )
    subject = load_subject(folder / "checkpoint", rows, ratings)
    with pytest.MonkeyPatch.context() as patch:
        # The recordings that there are stand for those of another instrument.
        patch.setattr("antiphon.eval.understanding_measures.render_corpus", lambda rows, **options: rows)
        domains = [Domain("all again", {}), Domain("some again", {}, max_items=7)]
        return understand(subject, domains, "timbre_soft_loud", folder / "out"), folder / "out"


def test_numbers_figures_and_report_are_written(examined):
    measured, out = examined
    assert json.loads((out / "understanding.json").read_text()) == measured
    names = {path.stem for path in out.glob("*.png")}
    assert names == {"maps", "sanity", "importance", "probes", "errors", "few_shot", "domains"}
    text = (out / "understanding.md").read_text()
    assert all(f"]({name}.png)" in text for name in names)
    assert "nan" not in text
    assert "12 test performances of 2 excerpts" in text


def test_each_part_is_measured(examined):
    measured, _ = examined
    assert set(measured["maps"]) == set(measured["probes"]) == {"audio", "roll"}
    assert "audio lattice" in measured["importance"]["source"]
    assert measured["raters"]["5"]["num_tasks"] == 3
    assert measured["raters"]["50"]["num_tasks"] == 0
    assert measured["instruments"]["FluidR3_GM"]["5"]["num_tasks"] == 1


def test_an_instrument_that_sounds_the_same_is_judged_the_same(examined):
    measured, _ = examined
    assert [len(domain["item_ids"]) for domain in measured["domains"].values()] == [12, 6]
    for domain in measured["domains"].values():
        for compared in domain["inputs"].values():
            assert compared["mean_change"] == pytest.approx(0, abs=1e-5)
            assert compared["r2"]["difference"]["value"] == pytest.approx(0, abs=1e-3)
    assert set(measured["instruments"]) == {"FluidR3_GM", "all again"}


def test_a_gap_is_told(examined):
    measured, _ = examined
    for gap, words in ((0.5, "incomplete, not to be trusted"), (0.001, "(complete)")):
        measured["example"]["gradients"] = {"roll": {"difference": 0.1, "gap": gap}}
        assert words in report(measured, ["maps"])


def test_a_fold_must_be_named_where_there_are_several(tmp_path):
    with pytest.raises(SystemExit, match="`--fold` is None; the protocol works has"):
        main([str(tmp_path), "--protocol", "works", "--out", str(tmp_path / "out")])
