"""A mixture by count: which rows are drawn, and what is said where there are too few."""

from collections import Counter

import numpy as np
import pytest
from small_corpora import write_corpus

from antiphon.processing.corpora import load_corpus
from antiphon.train_scripts.mixing import choose_rows
from antiphon.train_scripts.recipes import RecipeError
from antiphon.train_scripts.sources import load_mixture, load_sources

SPEAKERS = [*(30 * ["ann"]), *(8 * ["bob"]), *(2 * ["cid"])]


def write(folder, source="here", speakers=SPEAKERS):
    rows = [
        {"file_name": f"{source}-{index:02d}.wav", "text": "one", "speaker_id": speaker, "source": source,
         "license": "CC0-1.0"}
        for index, speaker in enumerate(speakers)
    ]  # fmt: skip
    return write_corpus(folder, rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mixing") / "here")


@pytest.fixture(scope="module")
def corpus(folder):
    return load_corpus(folder)


def drawn(corpus, **options):
    return choose_rows(corpus, "here", **options)["file_name"][:]


def test_the_draw_is_a_function_of_seed_and_ids_and_not_of_their_order(corpus):
    first = drawn(corpus, count=10)
    assert len(set(first)) == 10
    shuffled = corpus.select(np.random.default_rng(0).permutation(len(corpus)))
    assert drawn(shuffled, count=10) == first
    assert drawn(corpus, count=10, seed=1) != first
    assert first != sorted(first)


def test_a_larger_count_keeps_the_rows_of_a_smaller_one_and_one_new_row_displaces_one_at_most(corpus):
    assert drawn(corpus, count=25)[:10] == drawn(corpus, count=10)
    fewer = corpus.select(range(1, len(corpus)))
    assert len(set(drawn(fewer, count=10)) - set(drawn(corpus, count=10))) <= 1


def test_every_row_is_drawn_equally_often(corpus):
    counts = Counter(name for seed in range(400) for name in drawn(corpus, count=10, seed=seed))
    # 100 times each, with a standard deviation of 8.7.
    assert min(counts[name] for name in corpus["file_name"]) > 60
    assert max(counts.values()) < 140


def test_speakers_are_balanced_as_far_as_they_go(corpus):
    def speakers(**options):
        return Counter(choose_rows(corpus, "here", balance="speaker_id", **options)["speaker_id"])

    assert speakers(count=6) == {"ann": 2, "bob": 2, "cid": 2}
    assert speakers(count=20) == {"ann": 10, "bob": 8, "cid": 2}
    assert max(Counter(drawn(corpus, count=20, balance="speaker_id")).values()) == 1


def test_rows_come_again_only_where_that_is_asked_for(corpus):
    with pytest.raises(RecipeError, match=r"`count` of here is 41 but there are 40 rows; .*`repeat: true`"):
        choose_rows(corpus, "here", count=41)
    counts = Counter(drawn(corpus, count=90, repeat=True))
    assert sorted(Counter(counts.values()).items()) == [(2, 30), (3, 10)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "`count` of here is 0; expected a number of rows"),
        ({"count": 1.5}, r"`count` of here is 1\.5"),
        ({"count": True}, "`count` of here is True"),
        ({"count": None, "repeat": True}, "need a `count`"),
        ({"count": 3, "balance": "speaker"}, "`balance` of here is 'speaker'; expected one of"),
        ({"count": 3, "balance": "split"}, "`balance` of here is 'split', which 40 rows do not have"),
    ],
)
def test_options_without_a_meaning_are_refused(corpus, options, message):
    with pytest.raises(RecipeError, match=message):
        choose_rows(corpus, "here", **options)


def test_a_recipe_mixes_sources_by_count_after_their_conditions(folder, tmp_path):
    other = write(tmp_path / "there", "there", ["dan"] * 5)
    sources = [
        {"name": str(folder), "count": 12, "where": ["speaker_id!=ann"], "repeat": True},
        {"name": str(other), "count": 3, "options": {"license": None}},
    ]
    mixture = load_mixture(sources, "data.train")
    assert Counter(mixture.rows["source"]) == {"here": 12, "there": 3}
    assert set(mixture.rows["speaker_id"]) == {"bob", "cid", "dan"}
    assert Counter(mixture.origins) == {
        f'{{"name": "{folder}"}}': 12,
        f'{{"name": "{other}", "license": null}}': 3,
    }
    with pytest.raises(RecipeError, match=r"here in `data\.train` is 12 but there are 10 rows"):
        load_sources([{**sources[0], "repeat": False}], "data.train")
