"""The main job on the embedded default: synthesise, train, evaluate, publish, load back, transcribe.

    make quickstart
    python train_scripts/quickstart.py training.num_train_epochs=2

Takes the overrides of `train_conformer.py`. Run again after a kill, it goes on where it was.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from antiphon.eval.benchmark_recognition import benchmark_recognition
from antiphon.eval.selection import select_split
from antiphon.processing.audio_io import write_audio
from antiphon.processing.corpora import decode, load_corpus
from antiphon.train_scripts.publish import publish_to_folder
from antiphon.train_scripts.recipes import RecipeError, load_recipe
from antiphon.train_scripts.run_folder import RunFolder
from antiphon.train_scripts.train_conformer import resolve, train

CORPUS = "synthetic_commands"
# What a stranger types. `antiphon` is made unimportable, so that only the checkpoint's own code can serve.
LOAD_BACK = """
import sys
sys.modules["antiphon"] = None
import soundfile, torch
from transformers import AutoModelForCTC, AutoProcessor
folder, file = sys.argv[1:]
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForCTC.from_pretrained(folder, trust_remote_code=True)
waveform, rate = soundfile.read(file, dtype="float32")
inputs = processor(audio=waveform, sampling_rate=rate, return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
print(processor.decode_logits(outputs.logits, outputs.attention_mask)[0]["text"])
"""


def load_back(hub: Path, audio_file: Path) -> str:
    """Transcribes a file in a clean process that has transformers but no Antiphon."""
    command = [sys.executable, "-c", LOAD_BACK, str(hub.resolve()), str(audio_file.resolve())]
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: the published checkpoint did not load in a clean process:\n{done.stderr}")
    return done.stdout.strip()


def write_samples(run: RunFolder, test, count: int = 3) -> list[tuple[Path, str]]:
    """Writes the first utterance of some test voices to the run's `samples`; returns files and their texts."""
    run.samples.mkdir(exist_ok=True)
    seen, samples = set(), []
    for row in test:
        if row["speaker_id"] not in seen and len(row["text"].split()) > 3:
            seen.add(row["speaker_id"])
            file = run.samples / f"{row['speaker_id']}.wav"
            write_audio(file, *decode(row))
            samples.append((file, row["text"]))
        if len(samples) == count:
            break
    return samples


def describe(row: dict) -> str:
    """The table that the quickstart ends with."""
    wer, cer = row["metrics"]["wer"], row["metrics"]["cer"]
    lines = [f"{'voice':<28}{'WER %':>8}{'CER %':>8}{'n':>6}"]
    for voice, scores in sorted(row["groups"].items(), key=lambda item: item[1]["wer"]):
        lines.append(f"{voice:<28}{100 * scores['wer']:>8.1f}{100 * scores['cer']:>8.1f}{scores['n']:>6}")
    for name, metric in (("WER", wer), ("CER", cer)):
        value, low, high = (100 * metric[key] for key in ("value", "low", "high"))
        lines.append(
            f"{name} on unseen voices {value:.2f} % "
            f"(95 % interval {low:.2f} to {high:.2f}, resampling {metric['num_groups']} voices)"
        )
    for baseline in row["baselines"].values():
        lines.append(f"baseline: WER {100 * baseline['metrics']['wer']['value']:.1f} %, {baseline['description']}")
    return "\n".join([*lines, *row["claims"]])


def main() -> None:
    clock = time.perf_counter()
    stages = []

    def stage(name: str) -> None:
        nonlocal clock
        stages.append((name, time.perf_counter() - clock))
        clock = time.perf_counter()

    try:
        recipe = resolve(load_recipe("quickstart", sys.argv[1:]))
    except RecipeError as error:
        sys.exit(f"error: {error}")
    corpus = load_corpus(CORPUS)
    stage("synthesis")
    run = train(recipe)
    stage("training")
    test = select_split(corpus, "test")
    row = benchmark_recognition(
        run.checkpoint,
        test,
        name=CORPUS,
        corpus=CORPUS,
        train=select_split(corpus, "train"),
        out=run.results,
    )
    samples = write_samples(run, test)
    stage("evaluation")
    hub = run.path / "hub"
    publish_to_folder(run.path, hub, license="apache-2.0")
    transcript = load_back(hub, samples[0][0])
    stage("publishing and loading back")

    width = min(shutil.get_terminal_size().columns, 100)
    print("=" * width, describe(row), sep="\n")
    file, said = samples[0]
    print(f"\n{file}, transcribed from {hub} in a clean process:\n  said   {said}\n  heard  {transcript}")
    print("\n" + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages))
    print(
        f"""
Next:
  make demo                                                            try it by microphone, in a browser
  .venv/bin/python train_scripts/train_conformer.py my_recipe.yaml     train on your own folder with metadata.csv
  .venv/bin/python train_scripts/publish.py {run.path} --to OWNER/NAME   push it to the Hub"""
    )


if __name__ == "__main__":
    main()
