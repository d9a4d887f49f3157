"""Writes the model card of a run: every number in it comes from the run folder, none from a hand.

A new task needs one entry in `TASKS`; the tests run its snippet as printed.
"""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from antiphon.eval.conditions import file_sha256
from antiphon.eval.result_formats import format_difference, format_interval, format_number, markdown_table
from antiphon.processing.corpora.leakage_probe import LeakageProbe
from antiphon.train_scripts.hub_metadata import card_metadata
from antiphon.train_scripts.trained_run import WEIGHTS, PublishError, TrainedRun

MAX_GROUPS_SHOWN = 20


@dataclass(frozen=True)
class TaskText:
    """What a card says about every model of one task.

    Args:
        purpose: One sentence; what goes in and what comes out.
        usage: A complete program of a few lines; `MODEL` stands for the repository or folder.
        limits: What follows from the task itself.
        misuse: What the model must not be used for.
        optional: By input of a recipe's `data.inputs`, what the program says less for a model trained without it.
    """

    purpose: str
    usage: str
    limits: str
    misuse: str
    optional: dict[str, str] = field(default_factory=dict)


TASKS = {
    "automatic-speech-recognition": TaskText(
        purpose="Speech goes in, its words come out, each with the time at which it was recognised.",
        usage="""\
import soundfile
from transformers import AutoModelForCTC, AutoProcessor

processor = AutoProcessor.from_pretrained("MODEL", trust_remote_code=True)
model = AutoModelForCTC.from_pretrained("MODEL", trust_remote_code=True)
waveform, sampling_rate = soundfile.read("speech.wav", dtype="float32")
outputs = model(**processor(audio=waveform, sampling_rate=sampling_rate))
print(processor.decode_logits(outputs.logits, outputs.attention_mask)[0]["text"])
""",
        limits="It may write words even when nobody speaks, knows only the language, vocabulary, microphones and noise "
        "of its training data, and does not tell speakers apart.",
        misuse="Do not use a transcript as evidence about a person, and do not transcribe people who have not agreed.",
    ),
    "piano-performance-assessment": TaskText(
        purpose="A performance on a piano goes in, as a recording, a MIDI file or both, with its score where there is "
        "one; out come nineteen percepts on a scale from 1/7 to 1, each with a calibrated 90 % interval.",
        usage="""\
import soundfile
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained("MODEL", trust_remote_code=True)
model = AutoModel.from_pretrained("MODEL", trust_remote_code=True).eval()
waveform, sampling_rate = soundfile.read("performance.wav", dtype="float32")
outputs = model(**extractor(audio=waveform, midi="performance.mid", score="score.mid", sampling_rate=sampling_rate))
print(*zip(model.config.percept_names, outputs.percepts[0].tolist(), outputs.low[0].tolist()), sep="\\n")
""",
        limits="It learned from passages of Beethoven and Schubert on sampled pianos: loudness is read literally, so "
        "another gain, instrument or room shifts what it says. Of several inputs one that you lack may be left out; "
        "the judgement is then worse, and far worse than that of a model trained without it. It repeats the taste of "
        "the listeners who judged the training data.",
        misuse="Do not grade, admit or refuse a person by it: on one performance it is wrong by about as much as "
        "performances of a passage usually differ.",
        optional={"midi": 'midi="performance.mid", ', "score": 'score="score.mid", '},
    ),
    "speaker-verification": TaskText(
        purpose="Speech goes in; out comes a vector of unit norm that is near to those of the same voice, and far from "
        "those of others.",
        usage="""\
import soundfile
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained("MODEL", trust_remote_code=True)
model = AutoModel.from_pretrained("MODEL", trust_remote_code=True).eval()
waveform, sampling_rate = soundfile.read("speech.wav", dtype="float32")
inputs = extractor(waveform, sampling_rate=sampling_rate, return_tensors="pt")
print(model(**inputs).speaker_embeddings[0].tolist())
""",
        limits="It learned a few hundred voices that mostly read English aloud; other languages, microphones, noise, "
        "shouting and recordings of less than two seconds make it err more, and voices change with age and health.",
        misuse="Do not identify, admit or accuse a person by it: its errors are far too many for that, and voices are "
        "personal data. Embed nobody's voice without consent.",
    ),
    "content-probing": TaskText(
        purpose="Speech goes in; out come vectors, 50 a second, that hold what is said and as little as possible "
        "of who says it. The results tell how well simple probes read speaker and text from them.",
        usage="""\
import soundfile
from transformers import AutoFeatureExtractor, AutoModelForCTC

extractor = AutoFeatureExtractor.from_pretrained("MODEL", trust_remote_code=True)
model = AutoModelForCTC.from_pretrained("MODEL", trust_remote_code=True).eval()
waveform, sampling_rate = soundfile.read("speech.wav", dtype="float32")
inputs = extractor(waveform, sampling_rate=sampling_rate, return_tensors="pt")
print(*model(**inputs).content.shape)
""",
        limits="It learned a few hours of English: the sounds of other languages are mapped to the nearest ones it "
        "knows, and it recognises words far worse than a recogniser would.",
        misuse="It does not make anybody anonymous: a stronger probe may find the speaker where ours does not.",
    ),
    "vocoding": TaskText(
        purpose="A log-mel spectrogram of speech goes in, its waveform comes out.",
        usage="""\
import soundfile
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained("MODEL", trust_remote_code=True)
model = AutoModel.from_pretrained("MODEL", trust_remote_code=True).eval()
waveform, sampling_rate = soundfile.read("speech.wav", dtype="float32")
inputs = extractor(waveform, sampling_rate=sampling_rate, return_tensors="pt")
soundfile.write("again.wav", model(inputs["input_features"]).waveform[0].detach().numpy(), sampling_rate)
""",
        limits="It learned speech of one speaker at a time: music, several voices at once and loud noise come out "
        "rough. What lies above half the sampling rate is gone.",
        misuse="Speech made from a spectrogram sounds like a recording; say that it is none.",
    ),
    "voice-conversion": TaskText(
        purpose="Speech goes in, and a few seconds of a voice that training never heard; out come the same words, at "
        "the same pace and with the same melody, in that voice.",
        usage="""\
import soundfile
from transformers import AutoModel

model = AutoModel.from_pretrained("MODEL", trust_remote_code=True).eval()
source, sampling_rate = soundfile.read("source.wav", dtype="float32")
reference, reference_rate = soundfile.read("reference.wav", dtype="float32")
prompt = model.make_prompt(reference, consent="who allowed it, and for what", sampling_rate=reference_rate)
converted = model.convert(source, prompt, sampling_rate=sampling_rate)
soundfile.write("converted.wav", converted.numpy(), sampling_rate)
""",
        limits="It knows English as it is read aloud, from a few hundred voices: other languages, singing, shouting "
        "and children come out worse, noise in the reference becomes a part of the voice, and noise in the source is "
        "taken for speech. Words may be lost; the word error rates say how many. Accent and manner stay the source's.",
        misuse="Convert to a voice only with the consent of the person whose voice it is, and say that the recording "
        "is made. Do not use it to pass for somebody, to get round a voice lock, or to put words into anybody's mouth.",
    ),
}

# What is said instead of a recogniser that writes its text token by token, as Whisper does.
GENERATING = replace(
    TASKS["automatic-speech-recognition"],
    purpose="Speech goes in, its words come out, written token by token.",
    usage="""\
import soundfile
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

processor = AutoProcessor.from_pretrained("MODEL")
model = AutoModelForSpeechSeq2Seq.from_pretrained("MODEL")
waveform, sampling_rate = soundfile.read("speech.wav", dtype="float32")
tokens = model.generate(**processor(audio=waveform, sampling_rate=sampling_rate, return_tensors="pt"))
print(processor.batch_decode(tokens, skip_special_tokens=True)[0])
""",
    limits="It may write words even when nobody speaks, and may say one phrase again and again; the results were "
    "measured with a guard against such loops, which the program above lacks: it passes `no_repeat_ngram_size=3` to "
    "`generate` where a transcript looped. Sound beyond its window is not heard. It knows only the language, "
    "vocabulary, microphones and noise of its training data, and does not tell speakers apart.",
)


def render_card(run: TrainedRun, title: str, model_id: str, license: str, repository_url: str | None = None) -> str:
    """The `README.md` of a published checkpoint, metadata included.

    Args:
        run: The checked run.
        title: Name of the model.
        model_id: What a user passes to `from_pretrained`.
        license: Licence identifier of the weights.
        repository_url: Where the repository is on the Hub, if it is there.

    Raises:
        PublishError: if no text is known for the task of a result.
    """
    task = next(iter(run.results.values()))["task"]
    if task not in TASKS:
        raise PublishError(
            f"no card text for the task {task!r}; add it to TASKS in model_card.py, beside {', '.join(TASKS)}"
        )
    text = GENERATING if run.config.get("is_encoder_decoder") else TASKS[task]
    sections = {
        f"# {title}": _what_it_is(run, text),
        "## How to use it": _usage(run, text, model_id),
        "## Training data": _training_data(run, license),
        "## Results": _results(run.results),
        "## The recipe on other checkpoints": _related_results(run.related_results),
        "## Report": _report(run),
        "## Recipe": f"```yaml\n{run.recipe.strip()}\n```",
        "## What failed": "\n".join(f"- {line}" for line in _failures(run)),
        "## Limits": "\n".join(f"- {line}" for line in _limits(run, text)),
        "## Misuse": text.misuse,
        "## Cost and hardware": _cost(run),
        "## Notes": run.notes,
        "## Citation": _citation(run, title, repository_url),
    }
    body = "\n\n".join(f"{heading}\n\n{content}" for heading, content in sections.items() if content)
    return f"---\n{card_metadata(run, title, license, repository_url).to_yaml().strip()}\n---\n\n{body}\n"


def summarize_log(log_history: list[dict]) -> dict:
    """The part of the Trainer's log that is published: totals, and every evaluation.

    `train_seconds` adds up the sessions that ended by themselves; a killed session leaves no total.
    """
    totals = [entry for entry in log_history if "train_runtime" in entry]
    return {
        "steps": max((entry.get("step", 0) for entry in log_history), default=0),
        "epochs": max((entry.get("epoch") or 0 for entry in log_history), default=0),
        "train_seconds": round(sum(entry["train_runtime"] for entry in totals), 1) if totals else None,
        "train_loss": totals[-1].get("train_loss") if totals else None,
        "evaluations": [entry for entry in log_history if any(key.startswith("eval_") for key in entry)],
    }


def _what_it_is(run: TrainedRun, text: TaskText) -> str:
    architecture = run.config["architectures"][0]
    weights = run.checkpoint / WEIGHTS
    facts = {"Architecture": f"`{architecture}` (`{run.config['model_type']}`)"}
    if parameters := next(iter(run.results.values())).get("model", {}).get("parameters"):
        facts["Parameters"] = f"{parameters:,}"
    facts["Weights"] = f"{weights.stat().st_size / 1e6:.1f} MB, sha256 `{file_sha256(weights)}`"
    if inputs := _inputs(run):
        facts["Inputs"] = ", ".join(inputs)
    if sampling_rate := _sampling_rate(run):
        facts["Audio"] = f"mono, {sampling_rate} Hz"
    summary = _docstrings(run.checkpoint).get(architecture, "").strip().split("\n\n")[0]
    return f"{summary}\n\n{text.purpose}\n\n{markdown_table(['', ''], facts.items())}".strip()


def _usage(run: TrainedRun, text: TaskText, model_id: str) -> str:
    program = text.usage.replace("MODEL", model_id)
    if inputs := _inputs(run):
        for name in text.optional.keys() - set(inputs):
            program = program.replace(text.optional[name], "")
    usage = f"```python\n{program}```"
    if "auto_map" in run.config:
        usage += (
            "\n\n`trust_remote_code=True` runs the Python files of this repository; read them first. With Antiphon "
            "installed, `import antiphon.modeling, antiphon.processing` makes it unnecessary."
        )
    return usage


def _inputs(run: TrainedRun) -> list[str]:
    """What the recipe says that the model reads, where it does."""
    return (yaml.safe_load(run.recipe).get("data") or {}).get("inputs") or []


def _training_data(run: TrainedRun, license: str) -> str:
    columns = ["name", "split", "license", "num_items", "num_speakers", "hours"]
    columns = [column for column in columns if any(corpus.get(column) for corpus in run.training_data)]
    rows = [[_one_line(corpus.get(column)) for column in columns] for corpus in run.training_data]
    licences = f"The weights are published under {license}; the licences above stay with the data."
    return f"{markdown_table(columns, rows)}\n\n{licences}"


def _results(rows: dict[str, dict]) -> str:
    return "\n\n".join(_benchmark(row) for row in rows.values())


def _related_results(rows: dict[str, dict]) -> str:
    if not rows:
        return ""
    return f"**Not measured on the weights published here**, but on others made in the same way.\n\n{_results(rows)}"


def _report(run: TrainedRun) -> str:
    pages = [path.as_posix() for path in run.report_files() if path.suffix in (".html", ".md")]
    return "\n".join(f"- [{page}]({page})" for page in pages)


def _benchmark(row: dict) -> str:
    """One benchmark: its own tables, since rows measured under different conditions are never put in one."""
    dataset, conditions = row["dataset"], row["conditions"]
    size = {"items": dataset.get("num_items"), "speakers": dataset.get("num_speakers"), "hours": dataset.get("hours")}
    measured_on = ", ".join(f"{_one_line(count)} {unit}" for unit, count in size.items() if count is not None)
    introduction = f"`{dataset['name']}`, {dataset['split']} split, {measured_on or 'of unknown size'}; "
    introduction += f"licence {_one_line(dataset.get('license'))}."
    if group := conditions.get("group_by"):
        introduction += f" In parentheses: 95 % confidence interval, resampling whole groups (`{group}`)."
    parts = [f"### {row['benchmark']}", introduction, _metric_table(row)]
    if row["claims"]:
        parts.append("\n".join(f"- {claim}" for claim in row["claims"]))
    if row.get("groups"):
        parts.append(_group_table(row))
    details = "\n".join(_condition_lines(conditions))
    parts.append(f"<details><summary>Conditions</summary>\n\n```text\n{details}\n```\n\n</details>")
    return "\n\n".join(parts)


def _condition_lines(conditions: dict) -> list[str]:
    """The conditions, a line each; what the audit's probes found stands in words below them."""
    probes = (conditions.get("audit") or {}).get("leakage", [])
    told = dict(conditions)
    if probes:
        told["audit"] = {key: value for key, value in conditions["audit"].items() if key != "leakage"}
    lines = [f"{key}: {_one_line(value)}" for key, value in told.items()]
    return lines + [f"audit, without listening: {LeakageProbe(**probe)}" for probe in probes]


def _metric_table(row: dict) -> str:
    metrics = row["metrics"]
    headings = [f"{name} {'↑' if result.get('higher_is_better') else '↓'}" for name, result in metrics.items()]
    lines = [["**this model**", *(f"**{format_interval(result)}**" for result in metrics.values())]]
    for name, baseline in row["baselines"].items():
        description = _one_line(baseline.get("description", "baseline"))
        if baseline.get("kind") == "simple":
            description = f"simple, but hears: {description}"
        figures = [format_interval(baseline["metrics"].get(metric)) for metric in metrics]
        lines.append([f"{name}: {description}", *figures])
        if difference := baseline.get("difference"):
            verdict = {True: "; beaten", False: "; NOT BEATEN"}.get(baseline.get("beaten"), "")
            figures = [format_difference(difference.get(metric), metrics[metric].get("unit")) for metric in metrics]
            lines.append([f"this model minus {name}{verdict}", *figures])
    return markdown_table(["", *headings], lines)


def _group_table(row: dict) -> str:
    metrics, groups = row["metrics"], row["groups"]
    shown = [name for name in metrics if any(name in values for values in groups.values())]
    ordered = sorted(groups) if len(groups) <= MAX_GROUPS_SHOWN else _worst_first(row)[:MAX_GROUPS_SHOWN]
    lines = [
        [
            group,
            *(format_number(groups[group].get(name), metrics[name].get("unit")) for name in shown),
            _one_line(groups[group].get("n")),
        ]
        for group in ordered
    ]
    table = markdown_table([row["conditions"].get("group_by", "group"), *shown, "n"], lines)
    if len(groups) > MAX_GROUPS_SHOWN:
        table = f"The worst {MAX_GROUPS_SHOWN} of {len(groups)} groups; all are in `results/`.\n\n{table}"
    return table


def _worst_first(row: dict) -> list[str]:
    """Groups ordered by the benchmark's first metric."""
    metric, result = next(iter(row["metrics"].items()))
    measured = {group: values[metric] for group, values in row["groups"].items() if values.get(metric) is not None}
    return sorted(measured, key=measured.get, reverse=not result.get("higher_is_better"))


def _failures(run: TrainedRun) -> Iterable[str]:
    """What the results themselves show; prose about what was tried belongs into notes.md."""
    for row in run.results.values():
        for name, baseline in row["baselines"].items():
            if baseline.get("beaten") is False:
                yield f"{row['benchmark']}: the baseline `{name}` was not beaten."
        if len(groups := _worst_first(row) if row.get("groups") else []) > 1:
            metric, result = next(iter(row["metrics"].items()))
            worst, best = (
                f"{group} ({format_number(row['groups'][group][metric], result.get('unit'))})"
                for group in (groups[0], groups[-1])
            )
            yield f"{row['benchmark']}: {metric} is worst for {worst} and best for {best}."
    if not run.notes:
        yield "Nobody wrote down what else was tried and failed."


def _limits(run: TrainedRun, text: TaskText) -> Iterable[str]:
    yield text.limits
    if sampling_rate := _sampling_rate(run):
        yield f"It expects {sampling_rate} Hz and refuses other rates; resample first."
    yield "The results hold under the conditions printed with them and say nothing about other data."


def _cost(run: TrainedRun) -> str:
    log = summarize_log(run.log_history)
    seconds = "a time that was not logged" if log["train_seconds"] is None else f"{log['train_seconds']:.0f} s"
    parts = [f"Trained for {log['steps']} steps ({log['epochs']:.1f} epochs) in {seconds}."]
    if hardware := run.environment.get("hardware"):
        parts.append(f"Hardware: {_one_line(hardware)}.")
    for row in run.results.values():
        if factor := row.get("speed", {}).get("real_time_factor"):
            where = row["conditions"].get("hardware") or "the same hardware"
            parts.append(f"Inference ({row['benchmark']}): real-time factor {factor:.3g} on {_one_line(where)}.")
        if apart := row.get("speed", {}).get("apart"):
            parts.append(_cost_apart(apart))
    return "\n\n".join(parts)


def _cost_apart(apart: Mapping) -> str:
    """What a process with nothing else in it needs, and a stream."""
    text = (
        f"Alone in a process, on {apart['seconds']:g} s of audio: real-time factor {apart['real_time_factor']:.3g}, "
        f"{apart['peak_bytes'] / 1e6:.0f} MB at its peak."
    )
    if stream := apart.get("stream"):
        text += (
            f" As a stream in pieces of {1000 * stream['piece_seconds']:.0f} ms: real-time factor "
            f"{stream['real_time_factor']:.3g}, {1000 * stream['algorithmic_latency_seconds']:.0f} ms of latency and "
            f"up to {1000 * stream['work_seconds_95']:.0f} ms of work on 95 % of the pieces."
        )
    return text


def _citation(run: TrainedRun, title: str, repository_url: str | None) -> str:
    sources = []
    for docstring in _docstrings(run.checkpoint).values():
        for source in re.findall(r"Source:\s*(.+?)(?:\n\s*\n|\Z)", docstring, re.DOTALL):
            sources.append("- " + " ".join(source.split()))
    year = max(str(row["conditions"].get("date", ""))[:4] for row in run.results.values())
    fields = {"title": title, "url": repository_url, "year": year, "note": "Trained with Antiphon"}
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    entry = f"@misc{{{re.sub(r'[^A-Za-z0-9]+', '_', title)},\n{lines}\n}}"
    built_on = f"It builds on:\n\n{chr(10).join(dict.fromkeys(sources))}\n\n" if sources else ""
    return f"{built_on}```bibtex\n{entry}\n```"


def _docstrings(checkpoint: Path) -> dict[str, str]:
    """Class name -> docstring, of the custom code in a checkpoint. Parsed, never imported."""
    docstrings = {}
    for path in sorted(checkpoint.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                docstrings[node.name] = ast.get_docstring(node) or ""
    return docstrings


def _sampling_rate(run: TrainedRun) -> int | None:
    settings = run.processor_config
    return settings.get("feature_extractor", settings).get("sampling_rate") or run.config.get("sampling_rate")


def _one_line(value) -> str:
    """A value of any JSON type on one line."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_one_line(item)}" for key, item in value.items())
    return json.dumps(value, ensure_ascii=False)
