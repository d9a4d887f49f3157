"""The card says what the run says: its numbers, its claims word for word, its failures."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from tiny_checkpoint import result_row, write_row

from antiphon.train_scripts.model_card import render_card, summarize_log
from antiphon.train_scripts.publish import publish_to_folder
from antiphon.train_scripts.trained_run import PublishError, load_run


def card_of(run) -> str:
    return render_card(load_run(run), "tiny", "tester/tiny", "apache-2.0", "https://example.org/tester/tiny")


def test_sections_are_complete_and_in_order(published_run):
    headings = [line for line in card_of(published_run).splitlines() if line.startswith(("# ", "## "))]
    assert headings == [
        "# tiny",
        "## How to use it",
        "## Training data",
        "## Results",
        "## Recipe",
        "## What failed",
        "## Limits",
        "## Misuse",
        "## Cost and hardware",
        "## Citation",
    ]


def test_results_come_with_intervals_baselines_groups_and_conditions(published_run):
    card = card_of(published_run)
    assert "| **this model** | **12.50 % (5.00 to 25.00)** | **87.50 % (75.00 to 95.00)** |" in card
    assert "the transcript 'zero' for everything | 90.00 % (85.00 to 95.00) | 10.00 % (5.00 to 15.00) |" in card
    assert "NOT BEATEN | -77.50 points (-80.00 to -70.00), p = 0.5000 | – |" in card
    assert "| anna | 0.00 % | 100.00 % | 20 |\n| ben | 25.00 % | 75.00 % | 20 |" in card
    assert "split_sha256: 0000" in card


def test_claims_are_carried_word_for_word(published_run):
    card = card_of(published_run)
    assert "- cannot tell about a population from 2 speakers\n- NOT BETTER THAN HEARING NOTHING\n" in card


def test_failures_cost_and_data_are_told(published_run):
    card = card_of(published_run)
    assert "the baseline `best_constant_transcript` was not beaten" in card
    assert "wer is worst for ben (25.00 %) and best for anna (0.00 %)" in card
    assert "Trained for 20 steps (2.0 epochs) in 12 s.\n\nHardware: a test machine, 2 threads." in card
    assert "| digits | train | CC-BY-4.0 | 100 | 5 | 0.02 |" in card
    assert "learning_rate: 0.001" in card


def test_sources_of_the_code_are_cited(published_run):
    assert '- Gulati et al. 2020, "Conformer: Convolution-augmented Transformer' in card_of(published_run)


def test_notes_of_a_person_are_included(run):
    assert "## Notes" not in card_of(run)
    (run / "notes.md").write_text("Mixup made it worse.")
    card = card_of(run)
    assert "## Notes\n\nMixup made it worse.\n" in card
    assert "Nobody wrote down" not in card


def test_the_metadata_is_what_the_hub_reads(published_run):
    metadata = ModelCard(card_of(published_run)).data
    assert (metadata.license, metadata.library_name, metadata.model_name) == ("apache-2.0", "transformers", "tiny")
    assert metadata.pipeline_tag == "automatic-speech-recognition"
    assert {result.metric_type: result.metric_value for result in metadata.eval_results} == {
        "wer": 0.125,
        "accuracy": 0.875,
    }
    assert metadata.eval_results[0].metric_args == {"confidence_interval": [0.05, 0.25], "n": 40}
    assert metadata.eval_results[0].source_url == "https://example.org/tester/tiny/blob/main/results/digits_test.json"


def test_eval_results_are_in_the_format_of_the_hub(published_run, tmp_path):
    folder = publish_to_folder(published_run, tmp_path / "card")
    entries = parse_eval_result_entries(yaml.safe_load((folder / ".eval_results" / "digits_test.yaml").read_text()))
    assert [(entry.dataset_id, entry.task_id, entry.value, entry.date) for entry in entries] == [
        ("digits", "digits_test_wer", 0.125, "2025-02-03"),
        ("digits", "digits_test_accuracy", 0.875, "2025-02-03"),
    ]
    assert entries[0].notes == "wer 12.50 % (5.00 to 25.00), lower is better; test split"


def test_each_benchmark_has_its_own_table(run):
    other = result_row(run / "checkpoint", benchmark="digits_noisy")
    other["metrics"] = {"wer": other["metrics"]["wer"] | {"value": 0.5, "low": None, "high": None}}
    write_row(run, other)
    card = card_of(run)
    assert card.index("### digits_noisy") < card.index("### digits_test")
    assert "| **this model** | **50.00 %** |\n" in card, "one group leaves no interval to print"


def test_rows_of_other_checkpoints_are_told_apart(run, tmp_path):
    other = result_row(run / "checkpoint", benchmark="leave_one_out") | {"checkpoint_sha256": "0" * 64}
    (run / "related_results").mkdir()
    (run / "related_results" / "leave_one_out.json").write_text(json.dumps(other))
    folder = publish_to_folder(run, tmp_path / "card")
    card = (folder / "README.md").read_text()
    section = card.split("## The recipe on other checkpoints")[1]
    assert section.index("Not measured on the weights published here") < section.index("### leave_one_out")
    assert {result.dataset_config for result in ModelCard(card).data.eval_results} == {"digits_test"}
    assert not (folder / ".eval_results" / "leave_one_out.yaml").exists()
    assert (folder / "related_results" / "leave_one_out.json").exists()


def test_paths_of_the_machine_are_not_published(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (run / "recipe.yaml").write_text(f"run:\n  folder: {tmp_path}/runs/tiny\n")
    (run / "environment.json").write_text(json.dumps({"command": ["train.py", f"{Path.home()}/recipe.yaml"]}))
    folder = publish_to_folder(run, tmp_path / "card")
    assert "folder: runs/tiny\n" in (folder / "README.md").read_text()
    assert json.loads((folder / "training" / "environment.json").read_text())["command"] == [
        "train.py",
        "~/recipe.yaml",
    ]


def test_many_groups_are_cut_to_the_worst_and_said_to_be(run):
    row = result_row(run / "checkpoint")
    row["groups"] = {f"s{index:02}": {"wer": index / 100, "accuracy": 0.5, "n": 1} for index in range(30)}
    write_row(run, row)
    card = card_of(run)
    assert "The worst 20 of 30 groups; all are in `results/`." in card
    assert card.index("| s29 | 29.00 %") < card.index("| s28 | 28.00 %")
    assert "| s09 |" not in card


def test_a_task_without_text_is_refused(run):
    write_row(run, result_row(run / "checkpoint") | {"task": "juggling"})
    with pytest.raises(PublishError, match="no card text for the task 'juggling'"):
        card_of(run)


def test_the_log_is_summed_up(published_run):
    summary = summarize_log(json.loads((published_run / "log_history.json").read_text()))
    assert (summary["steps"], summary["epochs"], summary["train_seconds"]) == (20, 2.0, 12.0)
    assert [entry["eval_wer"] for entry in summary["evaluations"]] == [0.5, 0.125]


def test_simple_baselines_and_probes_of_the_audit_are_told_in_words(published_run):
    row = result_row(published_run / "checkpoint")
    row["baselines"]["nearest_template"] = {**row["baselines"]["best_constant_transcript"], "kind": "simple"}
    row["conditions"]["audit"] = {
        "num_train": 3,
        "leakage": [
            {
                "property": "file length",
                "label": "text",
                "measure": "accuracy",
                "score": 0.31,
                "chance": 0.1,
                "low": 0.1,
                "high": 0.3,
                "num_groups": 4,
                "better_than_chance": True,
            }
        ],
    }
    write_row(published_run, row)
    card = card_of(published_run)
    assert "nearest_template: simple, but hears:" in card
    assert "text: a nearest neighbour on file length alone scores 31.0% (majority 10.0%; +10.0 to +30.0 points" in card
    assert "audit: num_train: 3\n" in card
