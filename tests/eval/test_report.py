"""Reports of a small study: right numbers, nothing from elsewhere, readable by everybody."""

import base64
import io
import json
import re
import socket
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from browser import open_browser, open_page
from small_study import write_study

from antiphon.eval.comparison import compare_systems, load_system
from antiphon.eval.report import main, write_report
from antiphon.eval.report_sections import TITLES
from antiphon.eval.report_source import ReportError
from antiphon.eval.result_formats import format_difference
from antiphon.eval.result_rows import items_path, read_row, row_path, write_row

HOSTILE = "<script>alert('x')</script>"
PROSE = """# Two tricks on four words

In short: {{ comparisons.words.both_minus_plain.wer.sentence }}.

## Problem

Words are hard. <b>Not bold</b>, [a page](https://example.org).

### Why

| word | hard |
| --- | --- |
| one | yes |

## results

With both it is {{ results.words_both.metrics.wer }}, that is {{ results.words_both.metrics.wer.value | percent }}.
"""


class Page(HTMLParser):
    """The start tags of a page with their attributes, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, *names: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A study with prose beside it, reported without a network."""
    study = write_study(tmp_path_factory.mktemp("study"))
    prose = study.parent / "prose.md"
    prose.write_text(PROSE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the report reached for the network"))
        write_report(study, prose=prose, peers="recognition")
    return study


@pytest.fixture
def study(tmp_path) -> Path:
    """A study of its own for a test that changes it."""
    return write_study(tmp_path)


def html_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def markdown_of(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def rewrite_row(study: Path, change) -> None:
    """Let `change` edit the row and the items of the variant `both`."""
    path = row_path(study / "results", "words_both")
    row, items = read_row(path), pd.read_parquet(items_path(study / "results", "words_both"))
    change(row, items)
    write_row(row, items, study / "results")


# ---------------------------------------------------------------- numbers


def test_a_changed_row_changes_every_place_that_quotes_it(study):
    prose = study.parent / "prose.md"
    prose.write_text(PROSE, encoding="utf-8")
    write_report(study, prose=prose)
    assert "8.33 %" in html_of(study)

    def change(row, items):
        row["metrics"]["wer"].update(value=0.4321, low=0.4, high=0.5)

    rewrite_row(study, change)
    write_report(study, prose=prose)
    for text in (html_of(study), markdown_of(study)):
        assert "it is 43.21 % (40.00 to 50.00), that is 43.21 %." in text  # prose
        assert text.count("43.21 % (40.00 to 50.00)") == 2  # prose and table
        assert text.count("8.33 %") == 4  # the trainings, whose own rows did not change


def test_the_verdict_table_holds_the_comparison(original):
    text = markdown_of(original)
    assert "intervals, which resample each speaker as a whole and are widened for training anew." in text
    name, p_value = "both against plain, wer of words", "0.2500 (cannot be below 0.2500)"
    assert f"| {name} | -41.67 points (-50.00 to -25.00) | – | {p_value} | cannot tell (3 speakers) | " in text
    assert "- both against plain, wer of words: cannot tell (3 speakers)" in text
    assert "3 speakers are too few for an interval that holds for others" in text


@pytest.mark.parametrize(
    ("quoted", "message"),
    [
        ("{{ results.words_both.metrics.wer.valu }}", r"nearest are .*results\.words_both\.metrics\.wer\.value"),
        ("{{ results.words_both.metrics.wer.value | precent }}", "no format 'precent'"),
        ("{{ results.words_both.metrics.wer | percent }}", "is text already"),
        ("{{ ''.__class__.__mro__ }}", "no number"),
        ("{{ 7 * 7 }}", "no number '7 \\* 7'"),
    ],
)
def test_a_quotation_that_stands_for_nothing_fails_and_writes_nothing(study, quoted, message):
    prose = study.parent / "prose.md"
    prose.write_text(f"## Results\n\nIt is {quoted}.\n", encoding="utf-8")
    before = sorted(study.rglob("*"))
    with pytest.raises(ReportError, match=message):
        write_report(study, prose=prose)
    assert sorted(study.rglob("*")) == before


def test_the_command_line_fails_with_status_1_and_lists_keys(study, capsys):
    prose = study.parent / "prose.md"
    prose.write_text("{{ nothing }}", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"error: .*no number 'nothing'") as failure:
        main([str(study), "--prose", str(prose)])
    assert failure.value.code not in (0, None)
    main([str(study), "--keys"])
    keys = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert keys["results.words_both.metrics.wer.value"] == "8.33 %"
    assert keys["results.words_both.groups.ann.wer"] == "25.00 %"
    assert keys["results.words_both.dataset.num_items"] == "12"
    assert keys["comparisons.words.both_minus_plain.wer"].startswith("-41.67 points (-50.00 to -25.00)")
    assert keys["comparisons.words.both_minus_plain.wer.groups.cy"] == "-25.00 points"
    assert keys["comparisons.words.both_minus_plain.wer.num_groups"] == "3"
    assert keys["runs.both/fold1/seed0.train_seconds"] == "12.5 s"
    difference = "results.words_both.baselines.best_constant_transcript.difference.wer"
    assert keys[f"{difference}.value"] == "-66.67 points"
    assert "%" not in keys[difference]


def test_typed_results_are_listed_at_the_end(study, capsys):
    prose = study.parent / "prose.md"
    prose.write_text("## Results\n\nOur WER is 12.5 %, from {{ results.words_both.metrics.wer }}.\n", encoding="utf-8")
    main([str(study), "--prose", str(prose)])
    assert "WER is 12.5 %" in capsys.readouterr().err
    [section] = re.findall(r"## Numbers typed by hand.*", markdown_of(study), flags=re.DOTALL)
    assert section.endswith("- WER is 12.5 %\n")


def test_rows_under_other_conditions_get_a_table_of_their_own(study):
    def change(row, items):
        row["conditions"]["text_normalizer"] = "upper case"

    rewrite_row(study, change)
    write_report(study)
    assert "### words, measured with other text_normalizer" in markdown_of(study)


# ---------------------------------------------------------------- safety


def test_hostile_texts_stay_text(study):
    def change(row, items):
        first = items["item_id"] == items["item_id"][0]
        items.loc[first, "reference"] = HOSTILE
        items.loc[first, "hypothesis"] = f'"><img src=x onerror=alert(1)> {HOSTILE} ```'
        items.loc[first, "speaker_id"] = "[x](javascript:alert(1))"
        row["groups"][HOSTILE] = row["groups"].pop("ann")
        row["claims"].append(HOSTILE)
        row["dataset"]["license"] = HOSTILE

    rewrite_row(study, change)
    comparisons = json.loads((study / "comparisons.json").read_text(encoding="utf-8"))
    comparisons[0]["groups"][HOSTILE] = comparisons[0]["groups"].pop("ann")
    (study / "comparisons.json").write_text(json.dumps(comparisons), encoding="utf-8")
    write_report(study)
    page = Page(html_of(study))
    assert HOSTILE in page.text
    assert page.all("script") == []
    assert all("onerror" not in attributes for _, attributes in page.tags)
    markdown = markdown_of(study)
    outside_code = re.sub(r"^(`{3,}).*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert "&lt;script&gt;" in outside_code
    assert "<script" not in outside_code
    assert "<img" not in outside_code
    assert "[x](javascript" not in outside_code


def test_html_in_prose_is_shown_not_obeyed(original):
    page = Page(html_of(original))
    assert page.all("b") == []
    assert "<b>Not bold</b>" in page.text


def test_the_page_fetches_nothing(original):
    html = html_of(original)
    page = Page(html)
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert page.all("link", "script", "iframe", "object", "embed", "base", "form") == []
    assert not re.search(r"url\((?!#)|@import", html)
    references = [value for _, attributes in page.tags for name, value in attributes.items() if name == "xlink:href"]
    assert all(reference.startswith("#") for reference in references)
    [policy] = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")


def test_pictures_in_prose_are_refused_as_links(study):
    prose = study.parent / "prose.md"
    prose.write_text("![secret](https://example.org/pixel.png)\n", encoding="utf-8")
    write_report(study, prose=prose)
    sources = [image["src"] for image in Page(html_of(study)).all("img")]
    assert not any("example.org" in source for source in sources)


# ---------------------------------------------------------------- for everybody


def test_headings_do_not_skip_a_level(original):
    levels = [int(tag[1]) for tag, _ in Page(html_of(original)).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    markdown = re.sub(r"^(`{3,}).*?^\1$", "", markdown_of(original), flags=re.DOTALL | re.MULTILINE)
    assert [len(marks) for marks in re.findall(r"^(#+) ", markdown, flags=re.MULTILINE)] == levels


def test_pictures_and_tables_say_what_they_are(original):
    page = Page(html_of(original))
    assert page.all("html") == [{"lang": "en"}]
    images, drawings = page.all("img"), page.all("svg")
    assert images
    assert drawings
    assert all(image["alt"].strip() for image in images)
    assert all(drawing["role"] == "img" and drawing["aria-label"].strip() for drawing in drawings)
    assert all(audio["aria-label"] for audio in page.all("audio"))
    own_headers = [header for header in page.all("th") if "scope" in header]
    assert len(own_headers) == len(page.all("th")) - 2  # the table of the prose has no captions and scopes of ours
    assert len(page.all("caption")) == len(page.all("table")) - 1


def test_ids_are_distinct(original):
    ids = [attributes["id"] for _, attributes in Page(html_of(original)).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_links_of_the_page_and_of_the_markdown_resolve(original):
    page = Page(html_of(original))
    ids = {attributes.get("id") for _, attributes in page.tags}
    targets = [link["href"] for link in page.all("a")]
    assert {target[1:] for target in targets if target.startswith("#")} <= ids
    linked = set(re.findall(r"\]\((report_files/[^)]+)\)", markdown_of(original)))
    assert linked == {str(path.relative_to(original)) for path in (original / "report_files").iterdir()}


def test_the_page_fits_a_narrow_screen_and_plays_in_a_browser(original):
    with open_browser() as browser:
        page, problems = open_page(browser, "about:blank", width=400)
        page.set_content(html_of(original), wait_until="load")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.wait_for_function("document.querySelector('audio').duration > 0")
        assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(0.5, abs=0.01)
        assert problems == []


# ---------------------------------------------------------------- contents


def test_the_sections_of_a_paper_stand_in_order(original):
    text = markdown_of(original)
    titles = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert titles == list(TITLES)
    assert text.startswith("# Two tricks on four words\n\nIn short: cannot tell (3 speakers).")
    assert "| both | data.augmentation | none | noise: probability: 0.4 |" in text
    assert "git checkout 0123456789abcdef" in text
    assert "python train_scripts/ablate.py words.yaml --folder words\n" in text  # one study, not its eight trainings
    assert "<details><summary>All 8 trainings</summary>" in text
    assert "| both | fold1 | 1 | measured | 8.33 %" in text


def test_failures_are_heard_and_seen(original):
    # Ann's "one" is the only word that `both` mistakes, with either seed.
    text = markdown_of(original)
    assert "### ann_one.wav" in text
    assert "reference  one\nhypothesis noise\nerror      S" in text
    assert "training seeds 0, 1" in text
    [audio] = Page(html_of(original)).all("audio")
    embedded = base64.b64decode(audio["src"].removeprefix("data:audio/flac;base64,"))
    waveform, rate = soundfile.read(io.BytesIO(embedded))
    expected, expected_rate = soundfile.read(original.parent / "corpus" / "words" / "ann_one.wav")
    assert rate == expected_rate
    np.testing.assert_allclose(waveform, expected, atol=1 / 32768)


def test_a_report_can_be_written_without_recordings(study):
    write_report(study, with_audio=False)
    assert "No audio here: the report was written without recordings." in markdown_of(study)
    assert Page(html_of(study)).all("audio") == []
    assert not list(study.rglob("*.flac"))
    assert "spectrogram" in markdown_of(study)


def test_missing_audio_is_said_in_its_place(study):
    (study.parent / "corpus" / "words" / "metadata.csv").unlink()
    write_report(study)
    assert "No audio here: the corpus " in markdown_of(study)
    assert "is not on this machine" in markdown_of(study)
    assert Page(html_of(study)).all("audio") == []


def test_another_recording_of_the_same_name_is_not_played(study):
    def change(row, items):
        items["duration_seconds"] = 0.7

    rewrite_row(study, change)
    write_report(study)
    assert "lasts 0.50 s, but the one that was measured 0.70 s" in markdown_of(study)
    assert Page(html_of(study)).all("audio") == []


def test_a_run_is_reported_without_comparisons(study):
    run = study / "runs" / "plain" / "fold0" / "seed1"
    write_report(run)
    text = markdown_of(run)
    assert text.startswith("# Run seed1\n\n- words: wer 50.00 %")
    assert "Nothing was compared" in text
    assert "the 5 items that cost seed1 most by wer." in text


def test_files_of_an_earlier_report_do_not_stay(study):
    write_report(study)
    assert (study / "report_files" / "failure_1_1.flac").is_file()

    def change(row, items):
        items["errors"] = 0

    rewrite_row(study, change)
    write_report(study)
    assert not (study / "report_files" / "failure_1_1.flac").exists()
    assert "both makes no error that wer counts" in markdown_of(study)


@pytest.mark.parametrize(
    ("prose", "message"),
    [
        ("## Resluts\n", "a section 'Resluts', which no report has; the nearest is 'Results'"),
        ("## Results\n\n#### Deep\n", r"line 3: the heading 'Deep' is on level 4"),
        ("Text.\n\n# Title\n", r"line 3: the heading 'Title' is on level 1"),
    ],
)
def test_headings_that_no_report_has_are_refused(study, prose, message):
    path = study.parent / "prose.md"
    path.write_text(prose, encoding="utf-8")
    with pytest.raises(ReportError, match=message):
        write_report(study, prose=path)


def test_headings_in_code_are_no_sections(study):
    path = study.parent / "prose.md"
    path.write_text("## Method\n\n```yaml\n## Resluts\n```\n", encoding="utf-8")
    write_report(study, prose=path)
    assert "## Method\n\n```yaml\n## Resluts\n```" in markdown_of(study)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ReportError, match=r"neither a run .* nor a study"):
        write_report(tmp_path)
    (tmp_path / "recipe.yaml").write_text("run: {}\n", encoding="utf-8")
    with pytest.raises(ReportError, match="holds no result row"):
        write_report(tmp_path)


def test_real_comparisons_are_reported(study):
    systems = [load_system(row_path(study / "results", f"words_{variant}")) for variant in ("plain", "both")]
    comparisons = compare_systems(systems)
    (study / "comparisons.json").write_text(json.dumps(comparisons), encoding="utf-8")
    write_report(study)
    text = markdown_of(study)
    assert f"| {comparisons[0]['sentence']} |" in text
    assert format_difference({key: comparisons[0][key] for key in ("value", "low", "high")}, "ratio") in text
    for warning in comparisons[0]["warnings"]:
        assert warning in text


def test_the_audit_is_told_for_each_split(study):
    probe = {"property": "file length", "label": "text", "measure": "accuracy", "score": 0.5, "chance": 0.25}
    probe |= {"low": 0.1, "high": 0.4, "num_groups": 12, "better_than_chance": True}

    def change(row, items):
        audit = {"num_train": 8, "num_shared_groups": 0, "shared_groups": [], "leakage": [probe]}
        row["folds"] = [{"split": "fold0", "audit": audit}, {"split": "fold1", "audit": None}]

    rewrite_row(study, change)
    write_report(study)
    text = markdown_of(study)
    assert "| test split | shared groups | train |" in text
    assert "| fold0 | 0 | 8 |" in text
    assert "fold0: text: a nearest neighbour on file length alone scores 50.0%" in text
    assert "| fold1 | not audited | not audited |" in text
    assert "- file length of the files alone tell more than chance" in text
