"""The listening test Space, its parts alone: definition, design, loudness, store."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from space_modules import imported_packages, modules_of

from antiphon.eval.listening_export import export_results
from antiphon.eval.listening_results import inattentive_listeners, read_results, scores

pytest.importorskip("pyloudnorm", reason="needs pyloudnorm: pip install antiphon[spaces]")

SPACE = Path(__file__).parents[2] / "spaces" / "listening_test"
SAMPLING_RATE = 16_000
SECONDS = 0.4


@pytest.fixture(scope="module")
def space():
    with modules_of(SPACE) as load:
        yield load


def example(space, folder: Path, kind: str = "mos", **changes):
    """A small test, written and read."""
    return space("definition").read_test(space("make_example").make_example(folder, kind, SECONDS, **changes))


# ---------------------------------------------------------------- the definition


def test_each_kind_is_read_with_its_pages(space, tmp_path):
    tests = {kind: example(space, tmp_path / kind, kind) for kind in space("definition").KINDS}
    assert [test.roles for test in tests.values()] == [
        ("sample",), ("reference", "sample"), ("A", "B"), ("A", "B", "X")
    ]  # fmt: skip
    assert tests["mos"].conditions == (("clean",), ("hoarse",), ("noisy",))
    assert tests["abx"].conditions == tuple(combinations(("clean", "hoarse", "noisy"), 2))
    assert list(tests["smos"].answers) == ["5", "4", "3", "2", "1"]
    assert tests["mos"].checks[0].expected == ("1", "2")
    assert len(tests["mos"].sounds) == 3 * 4 + 2
    assert len(tests["smos"].sounds) == 3 * 4 + 4 + 2
    referred = example(space, tmp_path / "r", "ab", with_reference=True, allow_no_preference=True,
                       attention_checks=[], pairs=[["noisy", "clean"]], pages_per_listener=4)  # fmt: skip
    assert referred.roles == ("reference", "A", "B")
    assert referred.conditions == (("clean", "noisy"),)
    assert list(referred.answers) == ["A", "B", "none"]


CHECK = {"sample": "checks/clean.wav"}
BAD_KEYS = {
    "kind": ({"kind": "mushra"}, "`kind` is 'mushra', expected one of mos, smos, ab, abx"),
    "unknown": ({"pages_per_listner": 3}, "unknown key `pages_per_listner`; did you mean `pages_per_listener`"),
    "pages": ({"pages_per_listener": 13}, "`pages_per_listener` is 13, expected a whole number from 1 to 12"),
    "true": ({"pages_per_listener": True}, "`pages_per_listener` is True"),
    "seed": ({"seed": -1}, "`seed` is -1"),
    "type": ({"title": 3}, "`title` is 3, expected a str"),
    "empty": ({"question": " "}, "`question` has 0 characters"),
    "scale": ({"scale": {1: "no", 3: "yes"}}, r"`scale` has the values \[1, 3\]"),
    "pairs": ({"pairs": [["clean", "noisy"]]}, "`pairs` is for comparisons"),
    "reference": ({"with_reference": True}, "`with_reference` is for kind ab"),
    "roles": ({"attention_checks": [{"A": "checks/clean.wav", "expected": "A"}]}, "expected sample, expected"),
    "answers": ({"attention_checks": [{**CHECK, "expected": [6]}]}, "expected some, not all, of 5, 4, 3, 2, 1"),
    "all pass": ({"attention_checks": [{**CHECK, "expected": [1, 2, 3, 4, 5]}]}, "expected some, not all"),
    "outside": ({"anchors": [{"sample": "../../secret.wav", "answer": 5}]}, "no file in this test's folder"),
    "missing": ({"anchors": [{"sample": "no.wav", "answer": 5}]}, "no file in this test's folder"),
}


@pytest.mark.parametrize(("changes", "sentence"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_bad_keys_are_told_in_one_sentence(space, tmp_path, changes, sentence):
    (tmp_path / "secret.wav").write_bytes(b"")
    with pytest.raises(space("definition").DefinitionError, match=sentence):
        example(space, tmp_path / "a" / "b", **changes)


BAD_COMPARISONS = {
    "scale": ({"scale": {1: "a", 2: "b"}}, "`scale` is for kinds mos and smos"),
    "unknown": ({"pairs": [["clean", "best"]]}, "two different systems of clean, hoarse, noisy"),
    "twice": ({"pairs": [["clean", "noisy"], ["noisy", "clean"]]}, "names a pair twice"),
    "anchors": ({"anchors": [{"sample": "checks/clean.wav", "answer": 5}]}, "examples of ratings"),
}


@pytest.mark.parametrize(("changes", "sentence"), BAD_COMPARISONS.values(), ids=BAD_COMPARISONS)
def test_bad_comparisons_are_told_in_one_sentence(space, tmp_path, changes, sentence):
    with pytest.raises(space("definition").DefinitionError, match=sentence):
        example(space, tmp_path, "ab", **changes)


def test_bad_folders_are_told_in_one_sentence(space, tmp_path):
    error, read_test = space("definition").DefinitionError, space("definition").read_test
    with pytest.raises(error, match=r"test\.yaml does not exist"):
        read_test(tmp_path)
    example(space, tmp_path, "smos")
    (tmp_path / "references" / "item_2.wav").rename(tmp_path / "item_2.wav")
    with pytest.raises(error, match=r"references/item_2\.wav does not exist"):
        read_test(tmp_path)
    (tmp_path / "systems" / "noisy" / "item_3.wav").unlink()
    with pytest.raises(error, match=r"systems/clean has item_3\.wav but systems/noisy has not"):
        read_test(tmp_path)
    (tmp_path / "systems" / "clean" / "notes.txt").write_text("")
    with pytest.raises(error, match=r"systems/clean holds notes\.txt, which is no \.wav"):
        read_test(tmp_path)
    (tmp_path / "test.yaml").write_text("kind: [")
    with pytest.raises(error, match="is not YAML"):
        read_test(tmp_path)


# ---------------------------------------------------------------- the design


def grown(space, test, num_listeners: int):
    """Pages of listeners who all finish, and how often each cell was given out."""
    counts, plans = Counter(), []
    for number in range(num_listeners):
        plans.append(space("design").plan_pages(test, counts, space("design").listener_seed(test.seed, number)))
        counts.update(page.cell for page in plans[-1] if page.check is None)
    return plans, counts


@pytest.mark.parametrize("kind", ["mos", "abx"])
@pytest.mark.parametrize("pages", [1, 5, 6, 12])
def test_design_is_balanced_after_any_number_of_listeners(space, tmp_path, kind, pages):
    test = example(space, tmp_path, kind, pages_per_listener=pages)
    for num_listeners in (1, 2, 7, 12):
        plans, counts = grown(space, test, num_listeners)
        cells = [counts[item, condition] for item in test.items for condition in test.conditions]
        assert max(cells) - min(cells) <= 1
        for plan in plans:
            trials = [page for page in plan if page.check is None]
            assert len(trials) == pages == len({page.cell for page in trials})
            of_condition = Counter(page.cell[1] for page in trials)
            assert max(of_condition.values()) - min(of_condition[name] for name in test.conditions) <= 1
            of_item = Counter(page.item for page in trials)
            assert max(of_item.values()) <= -(-pages // len(test.items)) + 1


def test_order_is_random_but_follows_from_the_seed(space, tmp_path):
    test = example(space, tmp_path, pages_per_listener=12)
    plans, _ = grown(space, test, 8)
    assert plans == grown(space, test, 8)[0]
    assert len({tuple(page.cell for page in plan) for plan in plans}) == 8
    # Late pages hold as much of each system as early ones.
    late = Counter(page.shown[0] for plan in grown(space, test, 60)[0] for page in plan[-4:] if page.check is None)
    assert max(late.values()) < 1.5 * min(late.values())


def test_checks_are_spread_and_never_come_first(space, tmp_path):
    checks = [{"sample": "checks/noise.wav", "expected": 1}] * 3
    test = example(space, tmp_path, pages_per_listener=12, attention_checks=checks)
    places = []
    for plan in grown(space, test, 20)[0]:
        own = [place for place, page in enumerate(plan) if page.check is not None]
        assert len(plan) == 15
        assert len(own) == 3
        assert min(own) > 0
        assert sorted(plan[place].check for place in own) == [0, 1, 2]
        places.append(tuple(own))
    assert len(set(places)) > 5


def test_which_system_is_a_and_which_is_x_is_balanced(space, tmp_path):
    test = example(space, tmp_path, "abx", pages_per_listener=12)
    plans, _ = grown(space, test, 10)
    pages = [page for plan in plans for page in plan if page.check is None]
    # Four presentations of each pair: 4 items, so each once a listener.
    assert set(Counter(page.shown for page in pages).values()) == {10}
    assert {len(page.shown) for page in pages} == {3}


# ---------------------------------------------------------------- loudness


def loudness_of(content: bytes, tmp_path: Path, space) -> tuple[float, float]:
    path = tmp_path / "heard.wav"
    path.write_bytes(content)
    return space("loudness").measure(path)


def write_noise(path: Path, level: float, click: float = 0.0, seconds: float = 1.0) -> Path:
    waveform = level * np.random.default_rng(0).normal(size=round(seconds * SAMPLING_RATE))
    waveform[len(waveform) // 2] += click
    soundfile.write(path, waveform, SAMPLING_RATE, subtype="FLOAT")
    return path


def test_sounds_are_equally_loud_unclipped_and_untouched(space, tmp_path):
    loudness = space("loudness")
    paths = [write_noise(tmp_path / f"{level}.wav", level) for level in (0.5, 0.01, 0.001)]
    before = [path.read_bytes() for path in paths]
    levels = loudness.match_loudness(paths)
    assert levels.target == -23
    for path in paths:
        heard, peak = loudness_of(loudness.matched_wav(path, levels.gains[path]), tmp_path, space)
        assert heard == pytest.approx(-23, abs=0.05)
        assert peak <= loudness.PEAK_LIMIT
    assert [path.read_bytes() for path in paths] == before


def test_all_become_softer_rather_than_one_clip(space, tmp_path):
    loudness = space("loudness")
    paths = [write_noise(tmp_path / "plain.wav", 0.1), write_noise(tmp_path / "click.wav", 0.01, click=0.25)]
    levels = loudness.match_loudness(paths)
    assert -33 < levels.target < -24
    heard = [loudness_of(loudness.matched_wav(path, levels.gains[path]), tmp_path, space) for path in paths]
    assert heard[0][0] == pytest.approx(heard[1][0], abs=0.05)
    assert max(peak for _, peak in heard) == pytest.approx(loudness.PEAK_LIMIT, abs=1e-3)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_text("no sound"), "cannot be read as audio"),
        (lambda path: soundfile.write(path, np.zeros(9000), SAMPLING_RATE), "is silent"),
        (lambda path: write_noise(path, 0.1, seconds=0.3), r"lasts 0\.30 s, expected 0\.4 to 60 s"),
        (lambda path: write_noise(path, 0.1, seconds=61), r"lasts 61\.00 s"),
        (lambda path: write_noise(path, np.nan), "no numbers"),
        (lambda path: soundfile.write(path, np.ones((9000, 3)), SAMPLING_RATE), "has 3 channels"),
        (lambda path: write_noise(path, 0.001, click=40.0), "without clipping"),
    ],
    ids=["text", "silent", "short", "long", "nan", "channels", "click"],
)
def test_bad_sounds_are_told_in_one_sentence(space, tmp_path, write, sentence):
    write(tmp_path / "bad.wav")
    with pytest.raises(space("definition").DefinitionError, match=sentence):
        space("loudness").match_loudness([tmp_path / "bad.wav"])


# ---------------------------------------------------------------- the store


@pytest.fixture
def store(space, tmp_path):
    return space("store").Store(tmp_path / "results.sqlite", example(space, tmp_path / "test"))


def begin(space, store) -> str:
    return store.begin(space("design").plan_pages)


def rows(store, query: str) -> list[tuple]:
    connection = sqlite3.connect(store.path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_session_goes_from_page_to_page_and_resumes(space, store):
    code = begin(space, store)
    session = store.session(code)
    assert (session.position, session.num_pages) == (0, 7)
    for position in range(3):
        session = store.answer(code, position, "4")
    again = space("store").Store(store.path, store.test).session(f" {code[:4].lower()}-{code[4:]} ")
    assert again == session
    assert again.position == 3
    for position in range(3, 7):
        session = store.answer(code, position, "2")
    assert session.page is None
    assert [answer for (answer,) in rows(store, "SELECT answer FROM answers ORDER BY position")] == ["4"] * 3 + [
        "2"
    ] * 4
    assert rows(store, "PRAGMA journal_mode") == [("wal",)]
    with store._connect() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_only_the_first_answer_to_a_page_counts(space, store):
    code = begin(space, store)
    store.answer(code, 0, "4")
    assert store.answer(code, 0, "1").position == 1
    assert rows(store, "SELECT answer FROM answers") == [("4",)]


def test_what_is_no_answer_is_refused(space, store):
    code, error = begin(space, store), space("store").SessionError
    for answer in (None, "6", "'; DROP TABLE answers; --"):
        with pytest.raises(error, match="Choose one of the answers"):
            store.answer(code, 0, answer)
    with pytest.raises(error, match="not open yet"):
        store.answer(code, 1, "3")
    for unknown in ("", "ABCD-EFGH", "' OR 1=1 --", "x" * 1000):
        with pytest.raises(error, match="no session with this code"):
            store.session(unknown)
    assert rows(store, "SELECT * FROM answers") == []


def test_results_of_another_test_are_refused(space, store, tmp_path):
    error = space("definition").DefinitionError
    write_noise(tmp_path / "test" / "systems" / "clean" / "item_1.wav", 0.1)
    with pytest.raises(error, match=r"results of another test, or test\.yaml or a sound"):
        space("store").Store(store.path, space("definition").read_test(tmp_path / "test"))
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(error, match="cannot be used as results"):
        space("store").Store(tmp_path / "text.sqlite", store.test)


def test_pages_of_abandoned_sessions_are_given_to_others(space, store):
    begin(space, store)
    kept = begin(space, store)
    store.answer(kept, 0, "3")
    seen = []
    store.begin(lambda test, counts, seed: seen.append(sum(counts.values())) or [])
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute("UPDATE listeners SET last_active = '2020-01-01T00:00:00+00:00'")
    connection.close()
    store.begin(lambda test, counts, seed: seen.append(sum(counts.values())) or [])
    assert seen == [12, 1]  # of the first session nothing was answered, of the second one page


def test_no_more_listeners_than_wanted(space, tmp_path):
    store = space("store").Store(tmp_path / "r.sqlite", example(space, tmp_path / "t", max_listeners=1))
    begin(space, store)
    with pytest.raises(space("store").SessionError, match="all the listeners it needs"):
        begin(space, store)


def test_several_listeners_at_once_keep_the_balance(space, store):
    def listen():
        code = begin(space, store)
        for position in range(7):
            store.answer(code, position, "3")

    threads = [threading.Thread(target=listen) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(store, "SELECT COUNT(*) FROM answers") == [(56,)]
    assert rows(store, "SELECT COUNT(DISTINCT code), COUNT(DISTINCT seed) FROM listeners") == [(8, 8)]
    assert rows(store, "SELECT COUNT(*) FROM pages WHERE item IS NOT NULL GROUP BY item, shown") == [(4,)] * 12


LISTENER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from definition import read_test
from design import plan_pages
from store import Store
store = Store(Path(sys.argv[3]), read_test(Path(sys.argv[2])))
while True:
    session = store.session(store.begin(plan_pages))
    while session.page is not None:
        answer, position = str(1 + session.position % 5), session.position
        session = store.answer(session.code, position, answer)
        print(session.code, position, answer, flush=True)
"""


def test_killing_the_process_loses_no_acknowledged_answer(space, store, tmp_path):
    generator, acknowledged = np.random.default_rng(0), []
    for number in range(6):
        command = [sys.executable, "-c", LISTENER, str(SPACE), str(tmp_path / "test"), str(store.path)]
        output = tmp_path / f"{number}.txt"
        with output.open("w") as file:
            process = subprocess.Popen(command, stdout=file)
            num_answers = generator.integers(4, 20)
            while output.read_text().count("\n") < num_answers:
                assert process.poll() is None
                time.sleep(0.002)
            time.sleep(generator.uniform(0, 0.02))  # so that it dies at any point of an answer
            process.send_signal(signal.SIGKILL)
            process.wait()
        acknowledged += [tuple(line.split()) for line in output.read_text().splitlines(True) if line.endswith("\n")]
        kept = rows(store, "SELECT code, position, answer FROM answers JOIN listeners ON listener = number")
        missing = set(acknowledged) - {(code, str(position), answer) for code, position, answer in kept}
        assert missing == set()
        # One answer may have been written whose acknowledgement was cut off, in each of the processes killed.
        assert len(kept) - len(acknowledged) <= number + 1
        assert rows(store, "PRAGMA integrity_check") == [("ok",)]
    assert len(acknowledged) >= 6 * 4


# ---------------------------------------------------------------- from the store to the analysis


def listen(space, store, choose) -> str:
    """A whole session; `choose` gives the answer to a page."""
    session = store.session(begin(space, store))
    while session.page is not None:
        session = store.answer(session.code, session.position, choose(session.page))
    return session.code


def test_ratings_come_back_as_they_were_given(space, store, tmp_path):
    ratings = {"clean": "5", "hoarse": "3", "noisy": "2"}
    codes = [listen(space, store, lambda page: "1" if page.item is None else ratings[page.shown[0]]) for _ in range(2)]
    codes.append(listen(space, store, lambda page: "4"))
    begin(space, store)
    results = read_results(store.path)
    table = scores(results)
    assert results.num_started == 4
    assert len(table) == 18
    careful = table[table["listener"] != "L0003"]
    assert careful.groupby("condition")["score"].unique().map(list).to_dict() == {
        "clean": [5],
        "hoarse": [3],
        "noisy": [2],
    }
    assert inattentive_listeners(results) == ["L0003"]
    export_results(results, tmp_path / "dataset")
    pd.testing.assert_frame_equal(scores(read_results(tmp_path / "dataset")), table, check_dtype=False)
    for file in (tmp_path / "dataset").iterdir():
        assert not any(code.encode() in file.read_bytes() for code in codes)


def test_comparisons_come_back_as_they_were_given(space, tmp_path):
    store = space("store").Store(tmp_path / "x.sqlite", example(space, tmp_path / "x", "abx", pages_per_listener=12))

    def recognise(page) -> str:
        return "A" if page.item is None or page.shown[2] == page.shown[0] else "B"

    def prefer_noisy(page) -> str:
        return "B" if page.item and page.shown[1] == "noisy" else "A"

    listen(space, store, recognise)
    assert scores(read_results(store.path))["score"].tolist() == [1] * 12
    store = space("store").Store(tmp_path / "p.sqlite", example(space, tmp_path / "p", "ab", pages_per_listener=12))
    listen(space, store, prefer_noisy)
    table = scores(read_results(store.path))
    assert set(table[table["condition"] == "clean | noisy"]["score"]) == {0}
    assert set(table[table["condition"] == "hoarse | noisy"]["score"]) == {0}


# ---------------------------------------------------------------- the page's parts


def test_page_tells_no_system_and_escapes_texts(space, tmp_path):
    hostile = '<img src=x onerror="document.title=1">'
    test = example(space, tmp_path, "abx", title=hostile, question=hostile)
    pages, levels = space("pages"), space("loudness").match_loudness(test.sounds)
    page = space("design").Page("item_1", ("clean", "noisy", "clean"))
    drawn = pages.draw_sounds(test, page, levels)
    without_sounds = re.sub(r"base64,[^\"]*", "", drawn)
    for secret in (*test.systems, *test.items, "systems", str(tmp_path)):
        assert secret not in without_sounds
    labels, sounds = re.findall(r'aria-label="([^"]+)"', drawn), re.findall(r"base64,([^\"]*)", drawn)
    assert labels == ["Sound A", "Sound B", "Sound X"]
    assert sounds[0] == sounds[2] != sounds[1]
    assert "<img" not in pages.draw_text(test.title, f"a\n{hostile}")


def test_anchors_come_best_first(space, tmp_path):
    test = example(space, tmp_path, "smos", anchors=[
        {"reference": "checks/clean.wav", "sample": "checks/noise.wav", "answer": 1},
        {"reference": "checks/clean.wav", "sample": "checks/clean.wav", "answer": 5},
    ])  # fmt: skip
    drawn = space("pages").draw_anchors(test, space("loudness").match_loudness(test.sounds))
    assert drawn.index("Surely the same") < drawn.index("Surely another voice")
    assert drawn.count("<audio") == 4


def test_a_missing_test_is_told_in_one_sentence(space, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    monkeypatch.delenv("ANTIPHON_LISTENING_TEST", raising=False)
    assert space("app").main([]) == 1
    assert space("app").main([str(tmp_path)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "app.py: error: no test was named; pass its folder, or set ANTIPHON_LISTENING_TEST."
    assert "test.yaml does not exist" in second


def test_example_is_written_by_one_command(space, tmp_path, capsys):
    space("make_example").main([str(tmp_path), "--kind", "ab"])
    assert "app.py" in capsys.readouterr().out
    assert space("definition").read_test(tmp_path).kind == "ab"
    assert yaml.safe_load((tmp_path / "test.yaml").read_text())["pages_per_listener"] == 6


def test_results_know_what_was_asked(space, store):
    [(digest, definition)] = rows(store, "SELECT sha256, definition FROM test")
    definition = json.loads(definition)
    assert definition["sha256"] == digest == store.test.sha256
    assert definition["answers"]["5"] == "5 – Excellent"
    assert definition["systems"] == ["clean", "hoarse", "noisy"]


def test_what_the_hub_would_install_is_what_is_imported():
    requirements = {re.split("[<>=]", line)[0] for line in (SPACE / "requirements.txt").read_text().split()}
    assert {"yaml" if name == "pyyaml" else name for name in requirements} == imported_packages(SPACE)
