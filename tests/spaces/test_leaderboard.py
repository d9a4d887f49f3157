"""The leaderboard Space: rows, ranks and cards alone, then the whole of it in a browser."""

import json
import re
from pathlib import Path

import pytest
from browser import open_browser, open_page, serve_space
from clean_process import WITHOUT_ANTIPHON
from leaderboards import CARD, SPEAKERS, write_board, write_run
from loopback_hub import LoopbackHub
from space_modules import imported_packages, modules_of

SPACE = Path(__file__).parents[2] / "spaces" / "leaderboard"
HOSTILE = '<img src=x onerror="document.title=1"> ${document.title=2} {{7*7}} $x^2$'
HOSTILE_CARD = """---
license: secret-metadata
---
# A card
<script>document.title = 3</script> <b>bold?</b> ![pixel](https://example.com/pixel.png)
[page](https://example.com/page) [script](javascript:document.title=4) [beside](results/x.json)

| a | b |
| - | - |
| 1 | 2 |
"""


@pytest.fixture
def space():
    with modules_of(SPACE) as load:
        yield load


# ---------------------------------------------------------------- rows


def metric(value, low=None, high=None, num_groups=20, higher_is_better=False):
    return {
        "value": value, "low": low, "high": high, "unit": "ratio",
        "higher_is_better": higher_is_better, "num_groups": num_groups,
    }  # fmt: skip


def make_row(low=0.1, high=0.2, *, baseline=0.9, beaten=True, conditions=None, **changes) -> dict:
    """A row as small as one may be; its value is the middle of the interval."""
    return {
        "benchmark": "digits",
        "dataset": {"name": "words", "split": "test", "num_items": 80},
        "checkpoint_sha256": f"{low}-{high}",
        "metrics": {"wer": metric((low + high) / 2, low, high)},
        "baselines": {"constant": {"metrics": {"wer": metric(baseline)}, "kind": "no_input", "beaten": beaten}},
        "claims": [],
        "conditions": {"sampling_rate": 8000, "decoding": "greedy", "group_by": "speaker_id", **(conditions or {})},
        **changes,
    }


def rank(space, **rows):
    """Rankings of rows by the names of their systems."""
    entries = [
        space("rows").read_entry(f"rows/{row['benchmark']}/{name}.json", json.dumps(row).encode())
        for name, row in rows.items()
    ]
    return space("ranking").rank_entries(entries)


def shown(ranking) -> list[tuple]:
    return [(f"{line.rank}{'=' if line.tied else ''}" if line.entry else "–", line.name) for line in ranking.lines]


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


BAD_ROWS = {
    "no JSON": (b"{", "it is not JSON"),
    "nan": (json.dumps(make_row(), allow_nan=True).replace("80", "NaN").encode(), "NaN is no JSON number"),
    "deep": (b"[" * 100_000, "it is not JSON"),
    "list": (b"[]", "it is no JSON object"),
    "no metrics": (without(make_row(), "metrics"), "its 'metrics' is missing or no dict"),
    "claims": (make_row(claims="good"), "its 'claims' is missing or no list"),
    "groups": (make_row(groups={str(number): {} for number in range(1001)}), "'groups' has 1001 entries, at most 1000"),
    "group": (make_row(groups={"anna": 1}), "its group 'anna' has no values"),
    "value": (make_row(metrics={"wer": {"value": "good"}}), "its metric 'wer' has no number as value"),
    "interval": (make_row(metrics={"wer": metric(0.1, "low", 0.2)}), "has 'low' as low end"),
    "direction": (make_row(metrics={"wer": {"value": 0.1}}), "does not say whether higher is better"),
    "decides": (make_row(primary_metric="cer"), "its metric that decides, 'cer', was not measured"),
    "checkpoint": (make_row(checkpoint_sha256=["a"]), "its 'checkpoint_sha256' is missing or no str"),
    "no baseline": (make_row(baselines={}), "it has no baseline, so its numbers mean nothing yet"),
    "simple": (make_row(baselines={"x": {"metrics": {}, "kind": "simple"}}), "no baseline that hears nothing"),
    "baseline": (make_row(baselines={"x": {"metrics": {}}}), "its baseline 'x' has no number as value"),
    "other folder": (make_row(benchmark="letters"), "it lies in rows/digits but was measured on 'letters'"),
    "large": (b" " * 1_000_001, "it has 1,000,001 bytes, at most 1,000,000 are read"),
}


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_what_is_no_row_is_refused_with_its_reason(space, row, reason):
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    with pytest.raises(space("rows").RowError, match=reason):
        space("rows").read_entry("rows/digits/system.json", data)


CARD_METRICS = {"conformer": "wer", "piano": "r2", "speaker": "eer", "vocoder": "pesq"}
CARD_METRICS |= {"content": "speaker_accuracy", "voice": "similarity"}


def test_committed_rows_of_older_versions_are_read(space):
    paths = sorted((SPACE.parents[1] / "model_cards").glob("*/results/*.json"))
    assert paths
    for path in paths:
        entry = space("rows").read_entry(f"{path.parent.parent.name}/results/{path.name}", path.read_bytes())
        model = path.parent.parent.name
        assert (entry.name, entry.metric) == (model, CARD_METRICS[model.split("-")[0]])


# ---------------------------------------------------------------- ranks


def test_systems_whose_intervals_overlap_share_a_rank(space):
    [ranking] = rank(
        space, worst=make_row(0.5, 0.6), best=make_row(0.1, 0.2), near=make_row(0.15, 0.3), middle=make_row(0.31, 0.4)
    )
    assert shown(ranking) == [("1=", "best"), ("1=", "near"), ("3", "middle"), ("4", "worst"), ("–", "constant")]


def test_a_rank_counts_only_the_systems_shown_to_be_better(space):
    # b cannot be told from a, nor c from b, but a is better than c.
    [ranking] = rank(space, a=make_row(0.1, 0.2), b=make_row(0.18, 0.28), c=make_row(0.25, 0.35))
    assert shown(ranking)[:3] == [("1=", "a"), ("1=", "b"), ("2", "c")]


def test_higher_may_be_better(space):
    rows = {
        name: make_row(metrics={"accuracy": metric((low + high) / 2, low, high, higher_is_better=True)},
                       baselines={"majority": {"metrics": {"accuracy": metric(0.2)}, "beaten": True}})
        for name, low, high in (("bad", 0.3, 0.4), ("good", 0.8, 0.9))
    }  # fmt: skip
    [ranking] = rank(space, **rows)
    assert shown(ranking) == [("1", "good"), ("2", "bad"), ("–", "majority")]


@pytest.mark.parametrize("carrier", ["better", "worse"])
def test_a_paired_comparison_outweighs_overlapping_intervals(space, carrier):
    rows = {"better": make_row(0.1, 0.3), "worse": make_row(0.15, 0.35)}
    other = "worse" if carrier == "better" else "better"
    ends = (-0.07, -0.02) if carrier == "better" else (0.02, 0.07)
    comparison = {"reference_checkpoint_sha256": rows[other]["checkpoint_sha256"], "metric": "wer"}
    rows[carrier]["comparisons"] = [comparison | dict(zip(("low", "high"), ends))]
    [ranking] = rank(space, **rows)
    assert shown(ranking)[:2] == [("1", "better"), ("2", "worse")]


def test_a_paired_comparison_may_also_show_no_difference(space):
    rows = {"first": make_row(0.1, 0.2), "second": make_row(0.21, 0.3)}
    comparison = {"reference_checkpoint_sha256": rows["first"]["checkpoint_sha256"], "metric": "wer"}
    rows["second"]["comparisons"] = [comparison | {"low": -0.01, "high": 0.2}]
    assert shown(rank(space, **rows)[0])[:2] == [("1=", "first"), ("1=", "second")]
    # Of another checkpoint it says nothing.
    rows["second"]["comparisons"][0]["reference_checkpoint_sha256"] = "an older one"
    assert shown(rank(space, **rows)[0])[:2] == [("1", "first"), ("2", "second")]


def test_comparisons_of_a_row_are_gone_through_once_for_all_pairs(space):
    class Counted(list):
        passes = 0

        def __iter__(self):
            self.passes += 1
            return super().__iter__()

    comparisons = [{"reference_checkpoint_sha256": ["no digest"], "metric": "wer", "low": -1, "high": -0.5}]
    entries = [
        space("rows").Entry(f"s{n}", f"s{n}.json", make_row(0.1, 0.2 + n, primary_metric="wer",
                                                            comparisons=Counted(comparisons)))
        for n in range(5)
    ]  # fmt: skip
    space("ranking").rank_entries(entries)
    assert [entry.row["comparisons"].passes for entry in entries] == [1] * 5


def test_six_speakers_rank_nobody(space):
    rows = {"good": make_row(0.0, 0.1), "bad": make_row(0.5, 0.6)}
    for row in rows.values():
        row["metrics"]["wer"]["num_groups"] = 6
    assert shown(rank(space, **rows)[0])[:2] == [("1=", "good"), ("1=", "bad")]


def test_a_row_without_an_interval_is_worse_than_nobody(space):
    [ranking] = rank(space, known=make_row(0.1, 0.2), unknown=make_row(metrics={"wer": metric(0.5)}))
    assert shown(ranking)[:2] == [("1=", "known"), ("1=", "unknown")]


def test_the_strongest_baseline_without_input_has_a_line_and_weak_systems_a_warning(space):
    simple = {"metrics": {"wer": metric(0.05)}, "kind": "simple", "beaten": False}
    strong = make_row(0.1, 0.2, baseline=0.8)
    strong["baselines"]["template"] = simple
    [ranking] = rank(
        space, strong=strong, weak=make_row(0.85, 0.95, baseline=0.9, beaten=False),
        unclear=make_row(0.6, 0.7, beaten=None),
    )  # fmt: skip
    assert [line.name for line in ranking.lines] == ["strong", "unclear", "constant", "weak"]
    assert ranking.lines[2].result["value"] == 0.8
    warnings = [line.warning for line in ranking.lines]
    assert warnings[0] == ""
    assert warnings[1] == "cannot tell whether this is better than hearing nothing"
    assert warnings[3] == "NOT BETTER THAN HEARING NOTHING"


OTHER_CONDITIONS = {
    "decoding": {"conditions": {"decoding": "beam"}},
    "sampling rate": {"conditions": {"sampling_rate": 16000}},
    "normaliser": {"conditions": {"text_normalizer": "none"}},
    "items": {"conditions": {"split_sha256": "1"}},
    "judges": {"conditions": {"judges": [{"name": "judge", "revision": "1"}]}},
    "split": {"dataset": {"name": "words", "split": "validation"}},
    "benchmark": {"benchmark": "letters"},
    "metric": {"metrics": {"wer": metric(0.1), "cer": metric(0.1)}, "primary_metric": "cer",
               "baselines": {"constant": {"metrics": {"cer": metric(0.9)}, "beaten": True}}},
}  # fmt: skip


@pytest.mark.parametrize("changes", OTHER_CONDITIONS.values(), ids=OTHER_CONDITIONS)
def test_other_conditions_are_another_ranking(space, changes):
    assert len(rank(space, one=make_row(), other=make_row(**changes))) == 2
    assert len(rank(space, one=make_row(), same=make_row(0.3, 0.4, conditions={"hardware": "faster"}))) == 1


def test_rankings_that_look_alike_are_told_apart_in_the_list(space):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    rankings = rank(space, one=make_row(), other=make_row(conditions={"text_normalizer": "none"}))
    names = [name for name, _ in space("app").labels(rankings)]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"digits · words · test · greedy · 8000 Hz · conditions \w{12}", name) for name in names)


# ---------------------------------------------------------------- what a page shows


def hostile_row() -> dict:
    row = make_row(0.91, 0.95, beaten=False, claims=[HOSTILE])
    row["groups"] = {HOSTILE: {"wer": 0.5, "n": HOSTILE}}
    row["conditions"] |= {"decoding": HOSTILE, "hardware": HOSTILE, HOSTILE: [HOSTILE]}
    row["baselines"][HOSTILE] = {"metrics": {"wer": metric(0.9)}, "description": HOSTILE, "beaten": False}
    row["metrics"][HOSTILE] = metric(0.5) | {"unit": HOSTILE}
    row["dataset"]["license"] = HOSTILE
    row["model"] = {"parameters": HOSTILE, "id": HOSTILE}
    return row


def test_nothing_from_a_row_reaches_the_page_unescaped(space):
    [ranking] = rank(space, **{HOSTILE.replace("/", ""): hostile_row()})
    tables, line = space("tables"), ranking.find(ranking.lines[-1].name)
    page = tables.ranking_table(ranking) + tables.describe_system(line) + tables.refused_list({HOSTILE: HOSTILE})
    page += space("interval_figure").draw_ranking(ranking)
    assert "<img" not in page
    assert "&lt;img src=x" in page
    assert "NOT BETTER THAN HEARING NOTHING" in page


def test_a_card_is_rendered_without_html_images_metadata_or_scripts(space):
    page = space("cards").render_card(HOSTILE_CARD.encode())
    assert "<h1>A card</h1>" in page
    assert "<td>2</td>" in page
    assert "[image: pixel]" in page
    assert 'href="https://example.com/page" target="_blank" rel="noopener noreferrer nofollow"' in page
    assert page.count("href=") == 1
    for forbidden in ("<script", "<b>", "<img", "secret-metadata", "pixel.png", 'href="javascript'):
        assert forbidden not in page


def test_a_card_that_is_no_text_or_deeply_nested_does_no_harm(space):
    assert "�" in space("cards").render_card(b"\xff\xfe card")
    assert len(space("cards").render_card(b"> " * 50_000)) < 1_000_000


def test_a_folder_is_read_with_its_bad_files_listed(space, tmp_path):
    (tmp_path / "rows" / "digits").mkdir(parents=True)
    (tmp_path / "rows" / "digits" / "good.json").write_text(json.dumps(make_row()))
    (tmp_path / "rows" / "digits" / "good.md").write_text(HOSTILE_CARD)
    (tmp_path / "rows" / "digits" / "bad.json").write_text("{")
    (tmp_path / "rows" / "digits" / "large.json").write_bytes(b" " * 2_000_000)
    board = space("board").Board(space("places").open_place(str(tmp_path)))
    board.refresh()
    assert [entry.name for entry in board.entries] == ["good"]
    assert list(board.refused) == ["rows/digits/bad.json", "rows/digits/large.json"]
    assert "2,000,000 bytes" in board.refused["rows/digits/large.json"]
    assert "<h1>A card</h1>" in board.card(board.entries[0])
    (tmp_path / "rows" / "digits" / "good.md").unlink()
    assert board.card(board.entries[0]) == "<p>Nobody has put a card beside this result.</p>"


@pytest.mark.parametrize(("size", "is_shown"), [(50_000, True), (50_001, False)])
def test_a_card_may_have_50_kb(space, tmp_path, size, is_shown):
    (tmp_path / "rows" / "digits").mkdir(parents=True)
    (tmp_path / "rows" / "digits" / "good.json").write_text(json.dumps(make_row()))
    (tmp_path / "rows" / "digits" / "good.md").write_text("x" * size)
    board = space("board").Board(space("places").open_place(str(tmp_path)))
    board.refresh()
    assert ("xxx" in board.card(board.entries[0])) == is_shown


def test_the_page_says_what_is_computed_anew_and_what_a_rank_leaves_open(space):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    text = " ".join(space("app").SUBMIT.split())
    assert "metrics, intervals, baselines' scores and groups anew from the transcripts" in text
    assert "speed, size, hardware and audit are the submitter's word" in text
    assert "one training of each system, which says nothing about training anew" in space("ranking").RULE


def test_the_model_cards_of_this_project_are_a_leaderboard(space):
    board = space("board").Board(space("places").open_place(str(SPACE.parents[1] / "model_cards")))
    board.refresh()
    assert board.refused == {}
    assert {"conformer-fsdd", "conformer-fsdd-without-theo"} <= {entry.name for entry in board.entries}
    assert "Conformer" in board.card(board.entries[0])


def test_a_place_that_is_none_is_told_in_one_sentence(space, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    assert space("app").main([str(tmp_path / "nowhere" / "at" / "all")]) == 1
    message = capsys.readouterr().err
    assert "is no folder here, and no name OWNER/DATASET of a dataset on the Hub." in message
    assert message.startswith("app.py: error: ")


def test_what_the_hub_would_install_is_what_is_imported():
    requirements = {re.split("[<>=]", line)[0] for line in (SPACE / "requirements.txt").read_text().split()}
    # The one package that is not imported by its own name.
    assert imported_packages(SPACE) == requirements - {"markdown-it-py"} | {"markdown_it"}


# ---------------------------------------------------------------- the whole, in a browser


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A leaderboard with two benchmarks, two decodings, a system that knows nothing, and what hostile people left."""
    runs = tmp_path_factory.mktemp("runs")
    board = write_board(
        tmp_path_factory.mktemp("boards") / "board",
        {
            "good": write_run(runs / "good", [0, 1] * 6),
            "near": write_run(runs / "near", [1, 0, 0] * 4),
            "guesser": write_run(runs / "guesser", 4),
            "lexicon": write_run(runs / "lexicon", 0, decoding="closed vocabulary"),
            "six": write_run(runs / "six", 1, benchmark="six_speakers", speakers=SPEAKERS[:6], known=6),
        },
    )
    rows = board / "rows" / "digits"
    hostile = hostile_row() | {
        key: json.loads((rows / "good.json").read_text())[key] for key in ("dataset", "conditions", "primary_metric")
    }
    (rows / f"{HOSTILE.replace('/', '')}.json").write_text(json.dumps(hostile))
    (rows / f"{HOSTILE.replace('/', '')}.md").write_text(HOSTILE_CARD)
    (rows / "broken.json").write_text("{")
    return board


def serve(folder: Path, place: Path | str, environment: dict[str, str] | None = None):
    """Serves the Space as on the Hub: without Antiphon, found by the folder of app.py alone."""
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    program = f"{WITHOUT_ANTIPHON}\nimport runpy\nsys.path[0] = {str(SPACE)!r}\n"
    program += f"runpy.run_path({str(SPACE / 'app.py')!r}, run_name='__main__')\n"
    (folder / "serve.py").write_text(program, encoding="utf-8")
    environment = environment or {"HF_HOME": str(folder / "hf_home"), "HF_HUB_OFFLINE": "1"}
    return serve_space([str(folder / "serve.py"), str(place)], cwd=folder, environment=environment)


@pytest.fixture(scope="module")
def address(filled, tmp_path_factory):
    with serve(tmp_path_factory.mktemp("server"), filled) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    """Opens a page, as wide and as dark as asked, and closes it after the test."""
    contexts = []

    def visit(address, **options):
        page, problems = open_page(browser, address, **options)
        contexts.append(page.context)
        return page, problems

    yield visit
    for context in contexts:
        context.close()


def choose(page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {}),
        ("dark", {"colour_scheme": "dark"}),
        ("phone", {"width": 390, "height": 844}),
    ],
)
def test_a_ranking_is_shown_with_intervals_ties_baseline_and_warning(visit, address, tmp_path, name, options):
    page, problems = visit(address, **options)
    table = page.locator("#table table")
    table.get_by_text("good").wait_for()
    rows = [row.split("\t") for row in table.inner_text().splitlines() if "\t" in row]
    by_name = {row[1].strip(): row for row in rows}
    assert by_name["near"][0].strip() == by_name["good"][0].strip() == "1="
    assert table.get_by_text("baseline: best constant transcript").is_visible()
    assert "NOT BETTER THAN HEARING NOTHING" in table.locator("tr", has_text="guesser").inner_text()
    assert "12.50 %" in by_name["good"][2]
    page.get_by_role("img", name=re.compile("word error rate of 5 systems and baselines")).wait_for()
    # The text of the picture has the colour of the page's.
    colour = "element => getComputedStyle(element).fill"
    assert page.locator(".intervals svg text").first.evaluate(colour) == page.locator("#details p").first.evaluate(
        "element => getComputedStyle(element).color"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert problems == []


def test_a_click_on_a_system_shows_its_card_groups_claims_and_conditions(visit, address):
    page, problems = visit(address)
    page.locator("#table").get_by_role("button", name="guesser").click()
    page.get_by_role("heading", name="The card of guesser").wait_for()
    details = page.locator("#details")
    details.get_by_role("heading", name="guesser").wait_for()
    assert "NOT BETTER THAN HEARING NOTHING: worse (p = " in details.inner_text()
    assert "speaker03" in details.inner_text()
    details.get_by_text("Conditions").click()
    assert "lower case" in details.inner_text()
    choose(page, "System", "near")
    page.get_by_role("heading", name="The card of near").wait_for()
    assert problems == []


def test_filters_leave_the_rankings_that_fit(visit, address):
    page, problems = visit(address)
    page.locator("#table").get_by_text("good").wait_for()
    choose(page, "Decoding", "closed vocabulary")
    page.locator("#table").get_by_text("lexicon").wait_for()
    assert page.locator("#table").get_by_text("good").count() == 0
    choose(page, "Benchmark", "six_speakers")
    page.get_by_text("No ranking has all of that; set a filter to any.").wait_for()
    choose(page, "Decoding", "any")
    page.locator("#table").get_by_role("button", name="six").wait_for()
    page.locator("#details").get_by_text("cannot tell about a population from 6 speakers").wait_for()
    assert problems == []


def test_what_strangers_wrote_stays_text(visit, address):
    page, problems = visit(address)
    page.locator("#table").get_by_role("button", name=re.compile("img src=x")).click()
    page.get_by_role("heading", name="A card").wait_for()
    page.locator("#refused").get_by_text("rows/digits/broken.json").wait_for()
    assert HOSTILE in page.locator("#details").inner_text()
    assert page.title() == "Leaderboard"
    assert page.locator("#table img, #details img, #card img, #card script").count() == 0
    assert problems == []


def test_an_empty_leaderboard_says_how_the_first_result_comes(visit, tmp_path, filled):
    place = tmp_path / "board"
    place.mkdir()
    with serve(tmp_path, place) as address:
        page, problems = visit(address)
        page.get_by_role("heading", name="No results yet").wait_for()
        assert f"python eval/submit.py RUN --to {place}" in page.locator("#notice").inner_text()
        assert page.get_by_label("Ranking", exact=True).count() == 0
        (place / "rows" / "digits").mkdir(parents=True)
        (place / "rows/digits/good.json").write_bytes((filled / "rows/digits/good.json").read_bytes())
        later, more_problems = visit(address)
        later.locator("#table").get_by_text("good").wait_for()
        assert later.get_by_text("No results yet").count() == 0
        assert problems + more_problems == []


def test_rows_of_a_hub_dataset_follow_its_commits_and_outlast_its_absence(visit, tmp_path, filled):
    def files(*names):
        return {f"rows/digits/{name}": (filled / "rows/digits" / name).read_bytes() for name in names}

    with LoopbackHub() as hub:
        good = json.loads((filled / "rows/digits/good.json").read_text())
        good["model"]["id"] = "tester/good"
        rows = files("broken.json") | {"rows/digits/good.json": json.dumps(good).encode()}
        hub.create("tester/board", rows, kind="dataset")
        hub.create("tester/good", {"README.md": CARD.format(name="a model on the Hub").encode()})
        environment = hub.environment(tmp_path / "hf_home", token=None)
        with serve(tmp_path, "tester/board", environment) as address:
            page, problems = visit(address)
            page.locator("#table").get_by_text("good").wait_for()
            page.get_by_role("heading", name="The card of a model on the Hub").wait_for()
            page.locator("#refused").get_by_text("broken.json").wait_for()
            hub.create("tester/board", files("good.json", "near.json", "near.md"), kind="dataset")
            later, more_problems = visit(address)
            later.locator("#table").get_by_role("button", name="near").click()
            later.get_by_role("heading", name="The card of near").wait_for()
            hub.fail("GET /api/datasets/tester/board", times=1000)
            last, last_problems = visit(address)
            last.get_by_text("These are the rows of before.").wait_for()
            assert last.locator("#table").get_by_role("button", name="near").is_visible()
            assert problems + more_problems + last_problems == []
