import csv

import numpy as np
import pytest
from small_percepiano import write_percepiano

from antiphon.processing.corpora import CorpusError, load_corpus, load_percepiano, load_ratings
from antiphon.processing.percepts import PERCEPTS

SCHUBERT = "Schubert_D960_mv2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_percepiano(tmp_path_factory.mktemp("data") / "percepiano")


@pytest.fixture(scope="module")
def corpus(folder):
    return load_percepiano(folder)


@pytest.fixture
def changed_table(tmp_path):
    """A corpus of one's own, and a function that replaces a table's rows."""
    folder = write_percepiano(tmp_path / "percepiano")

    def change(name, rewrite):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rewrite(rows))
        return folder

    return change


def test_what_has_no_label_is_left_out(corpus):
    assert len(corpus) == 13 * 6 - 1
    assert "midi/Beethoven_WoO80_var5_8bars_Score_5.mid" not in corpus["file_name"]


def test_columns(folder, corpus):
    row = next(row for row in corpus if row["file_name"] == f"midi/{SCHUBERT}_8bars_2_03.mid")
    assert (row["audio"], row["speaker_id"], row["player_id"], row["is_human"]) == (None, "2", "2", True)
    assert (row["passage"], row["work"]) == (f"{SCHUBERT}|8|03", "D960_mv2")
    assert row["duration_seconds"] == pytest.approx(0.5 + 30 * 0.12)
    assert row["midi"] == str(folder.resolve() / row["file_name"])
    assert row["score_midi"].endswith(f"score_midi/{SCHUBERT}_8bars_Score_03.mid")


def test_variations_are_one_work(corpus):
    assert set(corpus["work"]) == {"D960_mv2", "WoO80"}


def test_cuts_and_repeats_of_the_same_bars_share_an_excerpt(corpus):
    excerpt = dict(zip(corpus["passage"], corpus["excerpt"]))
    assert {excerpt[f"{SCHUBERT}|{cut}"] for cut in ("16|01", "8|01", "8|02")} == {f"{SCHUBERT}|8|01"}
    assert excerpt[f"{SCHUBERT}|8|07"] == f"{SCHUBERT}|8|06"
    assert len(set(excerpt.values())) == 5 + 5


def test_one_performance_under_two_names_is_one_duplicate_group(corpus):
    group = dict(zip(corpus["file_name"], corpus["duplicate_group"]))
    repeated = f"midi/{SCHUBERT}_8bars_1_07.mid"
    assert {name for name in group if group[name] != name} == {repeated}
    assert group[repeated] == f"midi/{SCHUBERT}_8bars_1_06.mid"


def test_labels_and_deviations_are_those_of_the_ratings(folder, corpus):
    ratings = load_ratings(folder)
    item = corpus[5]
    given = ratings[(ratings["file_name"] == item["file_name"]) & (ratings["percept"] == PERCEPTS[3])]["rating"]
    assert len(given) == item["num_raters"] == 3
    assert item["percepts"][3] == pytest.approx(given.mean() / 7, abs=1e-5)
    assert item["percept_stds"][3] == pytest.approx(given.std(ddof=0) / 7)


def test_ratings_that_were_not_given_and_raters_beyond_the_scale_are_left_out(changed_table):
    first_of = {}

    def rewrite(rows):
        header, first, second, *others = rows
        first_of.update(zip(header, first))
        return [header, ["8", first[1], "0", *first[3:]], ["9", second[1], *second[2:-1], "8"], *others]

    ratings = load_ratings(changed_table("labels/total_2rounds.csv", rewrite))
    assert set(ratings[ratings["user"] == 8]["percept"]) == set(PERCEPTS[1:])
    assert not (ratings["user"] == 9).any()
    assert ratings["rating"].between(1, 7).all()


def test_labels_that_are_not_the_mean_of_their_ratings_are_refused(changed_table):
    folder = changed_table("labels/total_2rounds.csv", lambda rows: [rows[0], *rows[2:]])
    with pytest.raises(CorpusError, match="the ratings of 1 items, such as 'midi/Schubert_D960_mv2_8bars_1_01"):
        load_percepiano(folder)


def test_another_corpus_is_refused(changed_table):
    folder = changed_table(
        "metadata.csv", lambda rows: [[cell.replace("Timing", "Time") for cell in row] for row in rows]
    )
    with pytest.raises(CorpusError, match="lacks the columns Timing_Stable_Unstable"):
        load_percepiano(folder)


def test_load_corpus_knows_it_by_name(folder, corpus, monkeypatch):
    monkeypatch.setenv("ANTIPHON_DATA", str(folder.parent))
    assert load_corpus("percepiano")["excerpt"][:] == load_corpus(folder)["excerpt"][:] == corpus["excerpt"][:]


def test_percepts_are_in_the_order_of_the_labels(corpus):
    assert np.array(corpus["percepts"][:]).shape == (len(corpus), len(PERCEPTS))
