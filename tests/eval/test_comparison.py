"""Systems compared: verdicts, mirrored by exchange, and refusals of what cannot be compared."""

import numpy as np
import pandas as pd
import pytest
from measured_rows import measure

from antiphon.eval import comparison_words
from antiphon.eval.comparison import System, compare_systems, comparison_table, load_system
from antiphon.eval.power import PowerEstimate

SPEAKERS = ["ann", "bea", "cat", "dot", "eve", "fay"]
NUM_WORDS = 20


def make_system(name, error_rates, *, seeds=(1, 2, 3), num_items=6, texts=None, **conditions):
    """A system that errs at a rate per speaker; items and references are the same for all systems."""
    generator = np.random.default_rng([len(name), *map(ord, name)])
    rows = [
        {
            "item_id": f"{speaker}_{item}",
            "speaker_id": f"speaker{speaker:02d}",
            "text": f"sentence {item}",
            "reference": f"sentence {item}" if texts is None else texts,
            "errors": generator.binomial(NUM_WORDS, rate),
            "words": NUM_WORDS,
            "seed": seed,
        }
        for seed in seeds
        for speaker, rate in enumerate(error_rates)
        for item in range(num_items)
    ]
    row = {
        "benchmark": "words",
        "metrics": {"wer": {"unit": "ratio", "higher_is_better": False, "columns": ["errors", "words"]}},
        "dataset": {"name": "words", "split": "test"},
        "conditions": {"group_by": "speaker_id", "decoding": "greedy", "packages": {"jiwer": "4"}, **conditions},
    }
    return System(name, row, pd.DataFrame(rows))


@pytest.fixture
def rates():
    return np.random.default_rng(0).beta(4, 12, 30)


@pytest.fixture
def plain(rates):
    return make_system("plain", rates)


def test_better_worse_and_their_mirror(plain, rates):
    (better,) = compare_systems([plain, make_system("augmented", rates / 2)])
    (worse,) = compare_systems([make_system("augmented", rates / 2), plain])
    assert (better["verdict"], better["sentence"]) == ("better", "better")
    assert worse["verdict"] == "worse"
    assert better["high"] < 0 < worse["low"]
    assert (worse["value"], worse["low"], worse["high"]) == pytest.approx(
        (-better["value"], -better["high"], -better["low"])
    )
    assert worse["p_value"] == better["p_value"]
    assert worse["effect_size"]["value"] == pytest.approx(-better["effect_size"]["value"])
    assert {name: -value for name, value in worse["groups"].items()} == pytest.approx(better["groups"])
    assert better["relative_change"] == pytest.approx(-0.5, abs=0.05)
    assert (better["num_groups"], better["num_items"], better["num_seeds"]) == (30, 180, {"system": 3, "reference": 3})
    assert better["warnings"] == []


def test_higher_is_better_turns_the_verdict(plain, rates):
    other = make_system("augmented", rates / 2)
    for system in (plain, other):
        system.row["metrics"]["wer"]["higher_is_better"] = True
    assert compare_systems([plain, other])[0]["verdict"] == "worse"


def test_difference_by_hand(tmp_path):
    paths = [measure(tmp_path, name, dict.fromkeys(SPEAKERS, n), SPEAKERS) for name, n in (("plain", 3), ("better", 1))]
    (comparison,) = compare_systems([load_system(path) for path in paths])
    # Two of four words fewer, for every speaker alike.
    assert (comparison["value"], comparison["low"], comparison["high"]) == pytest.approx((-0.5, -0.5, -0.5))
    assert comparison["groups"] == pytest.approx(dict.fromkeys(SPEAKERS, -0.5))
    assert comparison["p_value"] == comparison["smallest_p_value"] == pytest.approx(2 / 64)
    assert comparison["effect_size"]["value"] is None  # no spread to divide by


def test_six_speakers_cannot_tell_whatever_they_show(tmp_path):
    paths = [measure(tmp_path, name, dict.fromkeys(SPEAKERS, n), SPEAKERS) for name, n in (("plain", 4), ("better", 0))]
    (comparison,) = compare_systems([load_system(path) for path in paths])
    assert (comparison["verdict"], comparison["sentence"]) == ("cannot tell", "cannot tell (6 speakers)")
    assert any("the smallest p that any outcome could give is 0.031" in text for text in comparison["warnings"])
    table = comparison_table([comparison])
    assert "| better | -100.00 points | -100.00 points |" in table


def test_no_difference_within_a_margin_and_without_one(rates):
    first, second = (make_system(name, rates, num_items=100) for name in ("first", "second"))
    (given,) = compare_systems([first, second], margin=0.02)
    assert (given["verdict"], given["sentence"]) == ("equivalent", "no difference larger than 2 points")
    (found,) = compare_systems([first, second])
    largest = max(abs(found["low"]), abs(found["high"]))
    assert found["verdict"] == "equivalent"
    bound = float(found["sentence"].removeprefix("no difference larger than ").removesuffix(" points"))
    assert largest <= bound / 100 <= 1.1 * largest
    (narrow,) = compare_systems([first, second], margin=largest / 2)
    assert narrow["verdict"] == "cannot tell"


def test_a_sure_difference_within_the_margin_says_both(rates):
    first, second = (make_system(name, values, num_items=200) for name, values in (("a", rates), ("b", rates * 0.9)))
    (comparison,) = compare_systems([first, second], margin=0.1)
    assert (comparison["verdict"], comparison["sentence"]) == ("better", "better, by no more than the margin")


def test_cannot_tell_names_how_many_more(rates):
    noise = np.random.default_rng(1).normal(0, 0.08, 30)
    (comparison,) = compare_systems(
        [make_system("plain", rates), make_system("other", np.clip(rates - 0.02 + noise, 0, 1))]
    )
    assert comparison["verdict"] == "cannot tell"
    assert comparison["more_groups_needed"] > 0
    assert "more speakers would" in comparison["sentence"]
    guess = comparison_words.round_up(comparison["more_groups_needed"])
    assert comparison["warnings"] == [f"{guess} is a rough guess: it takes the observed difference for the true one"]


def judge(**changed):
    """Verdict and sentence on accuracies near 1 that hardly differ."""
    comparison = {"value": 0.0, "low": -0.001, "high": 0.001, "holm_p_value": 0.9, "num_groups": 30, "unit": "ratio"}
    comparison |= {"higher_is_better": True, "reference_value": 0.979, **changed}
    needed = PowerEstimate(31, limited_by_trainings=False, power_now=0.5)
    return comparison_words.verdict(comparison, needed, margin=None, noun="speaker")[:2]


def test_a_tenth_of_the_errors_left_is_the_margin_of_accuracies():
    assert judge()[0] == "equivalent"
    assert judge(low=-0.003) == ("cannot tell", "cannot tell: about 1 more speaker would")
    assert judge(low=-0.003, higher_is_better=False)[0] == "equivalent"
    assert judge(low=-0.003, unit="words")[0] == "equivalent"
    assert judge(low=-0.003, reference_value=0.05)[0] == "equivalent"


def test_an_interval_without_0_is_not_equivalent_unless_a_margin_says_so():
    sentence = "cannot tell: a small difference by the interval, not by the test (p = 0.07)"
    assert judge(value=-0.001, low=-0.002, high=-0.0001, holm_p_value=0.07) == ("cannot tell", sentence)


def test_one_speaker_says_nothing(rates):
    (comparison,) = compare_systems([make_system(name, rates[:1]) for name in ("first", "second")])
    assert comparison["warnings"][0].startswith("1 speaker says nothing about a population")


def test_trainings_that_differ_too_much_are_named(rates):
    first, second = make_system("first", rates), make_system("second", rates)
    shift = second.items["seed"].map({1: 0, 2: 2, 3: 5})
    second.items["errors"] += shift
    (comparison,) = compare_systems([first, second])
    assert comparison["sentence"] == "cannot tell: more trainings would, more speakers alone would not"
    assert comparison["more_groups_needed"] is None


def test_one_training_each_is_warned_about(rates):
    first, second = (make_system(name, rates, seeds=[1]) for name in ("first", "second"))
    assert compare_systems([first, second])[0]["warnings"] == ["one training each: says nothing about training anew"]
    thrice = make_system("thrice", rates)
    warnings = compare_systems([first, thrice])[0]["warnings"]
    assert warnings[0] == "one training of first: says nothing about training it anew"


def test_holm_counts_the_family(plain, rates):
    systems = [plain, make_system("a", rates / 2), make_system("b", rates), make_system("c", rates)]
    comparisons = compare_systems(systems)
    assert [comparison["family"] for comparison in comparisons] == [3, 3, 3]
    assert comparisons[0]["holm_p_value"] == pytest.approx(3 * comparisons[0]["p_value"])


def test_order_of_items_is_irrelevant(plain, rates):
    other = make_system("augmented", rates / 2)
    shuffled = System(other.name, other.row, other.items.sample(frac=1, random_state=0, ignore_index=True))
    assert compare_systems([plain, shuffled]) == compare_systems([plain, other])


def test_identical_trainings_change_nothing_of_the_value(rates):
    first, second = (make_system(name, values, seeds=[1]) for name, values in (("a", rates), ("b", rates / 2)))
    repeated = [
        System(one.name, one.row, pd.concat([one.items.assign(seed=seed) for seed in (1, 2)]))
        for one in (first, second)
    ]
    (once,), (twice,) = compare_systems([first, second]), compare_systems(repeated)
    keys = ("value", "low", "high", "p_value")
    assert [twice[key] for key in keys] == pytest.approx([once[key] for key in keys])


def test_crossed_groupings(plain, rates):
    other = make_system("augmented", rates / 2, num_items=6)
    (comparison,) = compare_systems([plain, other], group_by=["speaker_id", "text"])
    assert (comparison["num_groups"], len(comparison["groups"])) == (6, 30)
    assert comparison["sentence"] == "cannot tell (6 texts)"
    assert any("crossed groupings (speaker_id and text)" in text for text in comparison["warnings"])


def test_a_mean_needs_no_denominator(plain, rates):
    other = make_system("augmented", rates / 2)
    for system in (plain, other):
        system.row["metrics"]["errors"] = {"unit": "errors", "higher_is_better": False, "columns": ["errors", None]}
    (comparison,) = compare_systems([plain, other], metric="errors")
    assert comparison["value"] == pytest.approx(other.items["errors"].mean() - plain.items["errors"].mean())


def test_other_conditions_are_refused_or_told(plain, rates):
    other = make_system("augmented", rates / 2, decoding="closed vocabulary", packages={"jiwer": "3"})
    with pytest.raises(ValueError, match=r"decoding: 'greedy' and 'closed vocabulary'; packages.jiwer: '4' and '3'"):
        compare_systems([plain, other])
    (comparison,) = compare_systems([plain, other], mix_conditions=True)
    assert comparison["condition_differences"] == {
        "decoding": ["greedy", "closed vocabulary"],
        "packages.jiwer": ["4", "3"],
    }
    assert any("conditions differ in decoding" in text for text in comparison["warnings"])


def test_other_references_are_refused_or_told(plain, rates):
    other = make_system("augmented", rates / 2, texts="another text")
    with pytest.raises(ValueError, match="reference: 'sentence 0' and 'another text'"):
        compare_systems([plain, other])
    assert "reference" in compare_systems([plain, other], mix_conditions=True)[0]["condition_differences"]


def test_other_items_are_refused_in_any_case(plain, rates):
    with pytest.raises(ValueError, match="not measured on the same items: 30 of them"):
        compare_systems([plain, make_system("fewer", rates, num_items=5)], mix_conditions=True)


def test_what_cannot_be_computed_is_refused(plain, rates):
    other = make_system("augmented", rates)
    with pytest.raises(ValueError, match="expects the reference and at least one more"):
        compare_systems([plain])
    with pytest.raises(ValueError, match=r"no metric 'cer'; it has wer"):
        compare_systems([plain, other], metric="cer")
    with pytest.raises(ValueError, match=r"`group_by` is \['piece'\]; expected one or two columns"):
        compare_systems([plain, other], group_by=["piece"])
    partial = System("partial", other.row, other.items[1:])
    with pytest.raises(ValueError, match=r"partial holds '0_0' \[0, 1, 1\] times"):
        compare_systems([plain, partial])
    del other.row["metrics"]["wer"]["columns"]
    with pytest.raises(ValueError, match="does not say which item columns its 'wer' comes from"):
        compare_systems([plain, other])


def test_systems_are_found_by_file_run_and_folder(tmp_path):
    wrong = dict.fromkeys(SPEAKERS, 1)
    path = measure(tmp_path / "plain" / "results", "words", wrong, SPEAKERS)
    assert load_system(path).name == load_system(tmp_path / "plain").name == "plain"
    measure(tmp_path / "plain" / "results", "other", wrong, SPEAKERS)
    assert load_system(tmp_path / "plain", benchmark="words").row["benchmark"] == "words"
    with pytest.raises(ValueError, match=r"holds 2 rows that fit.*other of one system, words of one system"):
        load_system(tmp_path / "plain")
    with pytest.raises(ValueError, match=r"holds 0 rows that fit.*no rows"):
        load_system(tmp_path / "nothing")
