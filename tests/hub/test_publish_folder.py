"""What may be published, and what replacing a published folder may destroy: nothing that a person made."""

import io
import json
import zipfile

import pytest
from tiny_checkpoint import result_row, write_checkpoint, write_row

from antiphon.train_scripts.publish import MANIFEST, is_repository_id, main, publish_to_folder
from antiphon.train_scripts.trained_run import PublishError


def published_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_what_a_hub_repository_needs(published_run, tmp_path):
    target = publish_to_folder(published_run, tmp_path / "card")
    files = published_files(target)
    assert {"README.md", "config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= files
    assert {"modeling_conformer.py", "processing_conformer.py", "feature_extraction_log_mel.py"} <= files
    assert {".eval_results/digits_test.yaml", "results/digits_test.json", "training/recipe.yaml"} <= files
    assert {"training/environment.json", "training/log_summary.json", "training/training_data.json"} <= files
    assert "training_args.bin" not in files
    assert set(json.loads((target / MANIFEST).read_text())["files"]) == files - {MANIFEST}
    assert list(tmp_path.iterdir()) == [target], "something was left beside the published folder"


def test_publishing_again_replaces_the_folder_and_drops_old_files(run, tmp_path):
    target = publish_to_folder(run, tmp_path / "card")
    first = (target / "model.safetensors").read_bytes()
    (run / "results" / "digits_test.json").unlink()
    write_checkpoint(run / "checkpoint", seed=1)
    write_row(run, result_row(run / "checkpoint", benchmark="other_test"))
    publish_to_folder(run, target)
    assert (target / "model.safetensors").read_bytes() != first
    assert "results/digits_test.json" not in published_files(target)
    assert "results/other_test.json" in published_files(target)


def test_a_folder_of_somebody_else_is_left_alone(published_run, tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(PublishError, match="was not written by publish"):
        publish_to_folder(published_run, target)
    assert published_files(target) == {"thesis.txt"}


def test_files_added_to_a_published_folder_and_edits_are_not_destroyed(published_run, tmp_path):
    target = publish_to_folder(published_run, tmp_path / "card")
    (target / "photo.png").write_bytes(b"png")
    with pytest.raises(PublishError, match=r"holds photo\.png, which publish did not write"):
        publish_to_folder(published_run, target)
    (target / "photo.png").unlink()
    (target / "README.md").write_text("my own words")
    with pytest.raises(PublishError, match=r"README\.md .* was edited"):
        publish_to_folder(published_run, target)
    assert (target / "README.md").read_text() == "my own words"


def test_a_failure_while_staging_leaves_the_old_publication(published_run, tmp_path, monkeypatch):
    target = publish_to_folder(published_run, tmp_path / "card")
    before = {name: (target / name).read_bytes() for name in published_files(target)}

    def full_disk(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr("antiphon.train_scripts.publish.render_eval_results", full_disk)
    with pytest.raises(OSError, match="no space left"):
        publish_to_folder(published_run, target)
    assert {name: (target / name).read_bytes() for name in published_files(target)} == before
    assert list(tmp_path.iterdir()) == [target]


def torch_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pytorch_model.bin", b"anything"),
        ("optimizer.pt", b"anything"),
        ("state.pkl", b"anything"),
        ("folder/weights.pth", b"anything"),
        ("disguised.json", b"\x80\x04K\x01."),
        ("disguised.txt", torch_archive()),
    ],
)
def test_pickles_are_refused_whatever_they_are_called(run, tmp_path, name, content):
    path = run / "checkpoint" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(PublishError, match="may hold a pickle"):
        publish_to_folder(run, tmp_path / "card")
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda weights: weights.unlink(), r"model\.safetensors is missing"),
        (lambda weights: weights.write_bytes(b"not safetensors at all"), "not a readable safetensors file"),
        (lambda weights: weights.write_bytes(weights.read_bytes()[:-10]), "not a readable safetensors file"),
    ],
)
def test_weights_that_are_not_safetensors_are_refused(run, tmp_path, spoil, message):
    spoil(run / "checkpoint" / "model.safetensors")
    with pytest.raises(PublishError, match=message):
        publish_to_folder(run, tmp_path / "card")


def test_a_header_that_happens_to_start_like_a_pickle_is_no_pickle(run, tmp_path):
    weights = run / "checkpoint" / "model.safetensors"
    content = weights.read_bytes()
    size = int.from_bytes(content[:8], "little")
    padded = 0x10480  # the length of the header comes first, low byte first; spaces may fill the header up
    assert size < padded
    weights.write_bytes(padded.to_bytes(8, "little") + content[8 : 8 + size].ljust(padded) + content[8 + size :])
    assert weights.read_bytes().startswith(b"\x80\x04")
    write_row(run, result_row(run / "checkpoint"))
    publish_to_folder(run, tmp_path / "card")


def test_results_of_another_checkpoint_are_refused(run, tmp_path):
    write_checkpoint(run / "checkpoint", seed=1)
    with pytest.raises(PublishError, match="measured on another checkpoint"):
        publish_to_folder(run, tmp_path / "card")


def test_a_run_without_results_or_baseline_is_refused(run, tmp_path):
    row = result_row(run / "checkpoint")
    write_row(run, row | {"baselines": {}})
    with pytest.raises(PublishError, match="has no metric or no baseline"):
        publish_to_folder(run, tmp_path / "card")
    (run / "results" / "digits_test.json").unlink()
    with pytest.raises(PublishError, match="holds no result"):
        publish_to_folder(run, tmp_path / "card")


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json", "log_history.json", "training_data.json"])
def test_an_incomplete_run_is_refused(run, tmp_path, name):
    (run / name).unlink()
    with pytest.raises(PublishError, match=f"{name} is missing"):
        publish_to_folder(run, tmp_path / "card")


def test_training_data_without_licence_is_refused(run, tmp_path):
    (run / "training_data.json").write_text('[{"name": "digits", "split": "train"}]')
    with pytest.raises(PublishError, match="lacks license"):
        publish_to_folder(run, tmp_path / "card")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from antiphon.modeling import ConformerConfig\n", "imports antiphon"),
        ("from .layers_missing import Layer\n", r"imports \.layers_missing"),
        ("def broken(:\n", "is not valid Python"),
    ],
)
def test_code_that_would_not_load_elsewhere_is_refused(run, tmp_path, code, message):
    (run / "checkpoint" / "layers_extra.py").write_text(code)
    with pytest.raises(PublishError, match=message):
        publish_to_folder(run, tmp_path / "card")


def test_code_that_the_configuration_names_must_be_there(run, tmp_path):
    (run / "checkpoint" / "processing_conformer.py").unlink()
    with pytest.raises(PublishError, match=r"names processing_conformer\.ConformerProcessor"):
        publish_to_folder(run, tmp_path / "card")


def test_an_access_token_in_a_file_is_refused(run, tmp_path):
    (run / "checkpoint" / "notes.txt").write_text("token: hf_" + "a1B2" * 9)
    with pytest.raises(PublishError, match="holds an access token"):
        publish_to_folder(run, tmp_path / "card")


def test_an_expected_failure_is_one_line_and_no_traceback(run, tmp_path, capsys):
    (run / "checkpoint" / "pytorch_model.bin").write_bytes(b"")
    assert main([str(run), "--to", str(tmp_path / "card")]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("publish: error: ")
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert main([str(tmp_path / "nowhere"), "--to", str(tmp_path / "card")]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_a_folder_and_a_repository_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_cards").mkdir()
    assert is_repository_id("tester/model")
    for folder in ("./tester/model", "model_cards/fsdd", "/tmp/model", "runs/quickstart/hub", "card"):
        assert not is_repository_id(folder)


def test_a_report_without_recordings_comes_along_and_is_linked(run, tmp_path):
    (run / "report" / "files").mkdir(parents=True)
    (run / "report" / "report.html").write_text("<h1>What we found</h1>")
    (run / "report" / "files" / "curve.svg").write_text("<svg/>")
    target = publish_to_folder(run, tmp_path / "card")
    assert {"report/report.html", "report/files/curve.svg"} <= published_files(target)
    assert "[report/report.html](report/report.html)" in (target / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("voice.flac", b"fLaC", r"voice\.flac is none of"),
        ("report.html", b'<audio src="data:audio/flac;base64,AAAA">', r"report\.html holds recordings"),
        ("report.md", b"token hf_" + b"a" * 34, r"report\.md holds an access token"),
    ],
)
def test_a_report_with_what_is_not_ours_to_publish_is_refused(run, tmp_path, name, content, message):
    (run / "report").mkdir()
    (run / "report" / name).write_bytes(content)
    with pytest.raises(PublishError, match=message):
        publish_to_folder(run, tmp_path / "card")
