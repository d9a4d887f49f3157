"""What the README shows is run: its code on a published model, its commands on a corpus of tones."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from clean_process import run_python
from tiny_voices import SAMPLING_RATE as VOICE_RATE
from tiny_voices import voice
from tone_corpus import SAMPLING_RATE, speak, write_tone_corpus

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    # Fences come in pairs, so that every second part of the text lies inside one.
    fenced = re.split(r"^```", README, flags=re.MULTILINE)[1::2]
    return [block.partition("\n")[2] for block in fenced if block.partition("\n")[0] == language]


def commands():
    return [line for block in blocks("bash") for line in block.splitlines() if line]


def run(command, cwd, timeout=300):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-1500:]}{done.stderr[-3000:]}"
    return done.stdout


def test_the_python_example_runs_as_printed_without_antiphon(tmp_path):
    example, _ = blocks("python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    soundfile.write(tmp_path / "digit.wav", speak("aeio"), SAMPLING_RATE)
    printed = run_python(example, tmp_path)
    assert re.search(r"\{'text': '.*', 'words': \[", printed)


def test_the_voice_example_runs_as_printed_without_antiphon(tmp_path):
    _, example = blocks("python")
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    for name, pitch in (("source", 110.0), ("reference", 200.0)):
        soundfile.write(tmp_path / f"{name}.wav", voice(pitch, 1.5).numpy(), VOICE_RATE)
    run_python(example, tmp_path)
    converted, sampling_rate = soundfile.read(tmp_path / "converted.wav")
    assert (len(converted), sampling_rate) == (24_000, VOICE_RATE)
    assert converted.std() > 0.005
    assert (tmp_path / "voice.safetensors").is_file()


def test_make_targets_exist():
    targets = {line.split()[1] for line in commands() if line.startswith("make ")} | {"demo", "lint"}
    assert {"quickstart", "test"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"the README names `make {target}`"


def test_training_measuring_and_publishing_run_as_printed(tmp_path):
    """On the tones, in the README's order; only the folder's name is filled in and the scripts' place."""
    write_tone_corpus(tmp_path / "MY_FOLDER")
    (tmp_path / "train_scripts").symlink_to(ROOT / "train_scripts")
    (tmp_path / "eval").symlink_to(ROOT / "eval")
    lines = [line for line in commands() if line.startswith("python ") and "runs/mine" in line]
    assert [line.split()[1].split("/")[1] for line in lines] == [
        "train_conformer.py", "benchmark_recognition.py", "publish.py",
    ]  # fmt: skip
    outputs = [run([sys.executable, *shlex.split(line)[1:]], tmp_path) for line in lines]
    assert "parameters" in outputs[0]
    assert "wer" in outputs[1]
    assert (tmp_path / "runs" / "mine" / "hub" / "README.md").is_file()


@pytest.mark.parametrize(
    "line", [line for line in commands() if line.startswith("python ") and "runs/mine" not in line]
)
def test_lines_that_need_recordings_name_scripts_options_and_recipes_that_exist(line):
    _, script, *words = shlex.split(line)
    usage = run([sys.executable, script, "--help"], ROOT)
    assert all(word in usage for word in words if word.startswith("--"))
    names = {path.stem for path in (ROOT / "train_scripts" / "recipes").rglob("*.yaml")}
    is_recipe = script.startswith("train_scripts/train_") and script != "train_scripts/train_language_model.py"
    if is_recipe or script in ("train_scripts/ablate.py", "train_scripts/search.py"):
        assert words[0] in names


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("accelerate ")])
def test_launch_lines_name_what_exists(line):
    words = shlex.split(line)
    for word in words:
        if "/" in word:
            assert (ROOT / word).is_file(), f"the README names {word}"
    assert (ROOT / "train_scripts" / "recipes" / f"{words[-1]}.yaml").is_file()


def test_the_tree_is_the_tree():
    [tree] = [block for block in blocks("") if block.startswith("modeling/")]
    parent = ROOT
    for line in tree.rstrip().splitlines():
        name = line.split()[0]
        folder = (parent if line.startswith("  ") else ROOT) / name
        assert folder.is_dir(), f"the README names {name}"
        if not line.startswith("  "):
            parent = folder


def test_results_are_those_of_the_model_cards():
    board = "spaces/leaderboard/leaderboard/rows"
    cards = ["conformer-fsdd", "conformer-an4", "piano-assessment"]
    cards += ["speaker-encoder", "vocoder", "content-encoder", "voice-conversion"]
    folders = [f"model_cards/{card}" for card in cards]
    folders += [f"{board}/an4_speakers", f"{board}/fsdd_speakers_lexicon"]
    assert all((ROOT / folder).is_dir() for folder in folders)
    run([sys.executable, "eval/results_table.py", "README.md", *folders, "--check"], ROOT)
