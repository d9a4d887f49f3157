"""The recording studio Space, its parts alone: prompts, coverage, takes, the folder on disk, export, actions."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from space_modules import imported_packages, modules_of

from antiphon.processing.corpora import decode, load_corpus

SPACE = Path(__file__).parents[2] / "spaces" / "recording_studio"
SAMPLING_RATE = 16_000
TEXT = "Fresh basil, garlic and oil are all this dish requires."


@pytest.fixture(scope="module")
def space():
    with modules_of(SPACE) as load:
        yield load


def speech(seconds: float = 3.0, level: float = 0.2, noise: float = 1e-3, silence: float = 0.4, seed: int = 0):
    """Syllables of a buzz between silences, (samples,) float: four of them a second, a fifth of the time silent."""
    generator = np.random.default_rng(seed)
    when = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    buzz = sum(np.sin(2 * np.pi * 120 * number * when) / number for number in range(1, 20))
    syllables = np.abs(np.sin(4 * np.pi * when)) > 0.3
    quiet = np.zeros(round(silence * SAMPLING_RATE))
    waveform = np.concatenate([quiet, level * buzz * syllables, quiet])
    return waveform + noise * generator.normal(size=len(waveform))


def write(path: Path, waveform, sampling_rate: int = SAMPLING_RATE, **options) -> Path:
    soundfile.write(path, waveform, sampling_rate, **options)
    return path


@pytest.fixture
def take(space, tmp_path):
    return space("takes").read_take(write(tmp_path / "take.wav", speech()))


def prompts_of(space, *texts: str):
    return [space("prompts").Prompt(text, space("spelling").normalise(text), "mine") for text in texts]


@pytest.fixture
def open_session(space, tmp_path):
    """Opens the session in `takes`; whatever was open before is closed."""
    opened = []

    def open_session(*texts: str, folder: Path = tmp_path / "takes", speaker: str = "me"):
        for session in opened:
            session.close()
        prompts = prompts_of(space, *(texts or ("first text", "second text")))
        opened.append(space("session").Session(folder, speaker, license="CC0-1.0", source="test", prompts=prompts))
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


# ---------------------------------------------------------------- prompts


def test_the_space_brings_enough_prompts(space):
    sentences, phrases = (space("prompts").read_list(path) for path in space("prompts").OWN_LISTS)
    for prompts, lowest in ((sentences, 300), (phrases, 100)):
        assert len(prompts) >= lowest
        assert all(
            prompt.text == prompt.normalised_text for prompt in prompts
        )  # no number that may be read in two ways
        letters = Counter("".join(filter(str.isalnum, prompt.text.lower())) for prompt in prompts)
        assert max(letters.values()) == 1
    assert {"zero", "nine", "stop"} <= {prompt.text for prompt in phrases}


def test_lists_are_read_as_text_and_as_csv(space, tmp_path):
    read_list = space("prompts").read_list
    (tmp_path / "mine.txt").write_text("\ufeffone two\n\n  three   four \none two\n", encoding="utf-8")
    assert [prompt.text for prompt in read_list(tmp_path / "mine.txt")] == ["one two", "three four"]
    table = 'id,text,normalised_text\n1,"Yes, 3",\n2,Zimmer 12,Zimmer zwölf\n'
    (tmp_path / "table.csv").write_text(table, encoding="utf-8")
    first, second = read_list(tmp_path / "table.csv")
    assert (first.text, first.normalised_text, first.list_name) == ("Yes, 3", "Yes, three", "table")
    assert second.normalised_text == "Zimmer zwölf"
    (tmp_path / "again.csv").write_bytes(space("prompts").to_table([first, second]))
    assert read_list(tmp_path / "again.csv") == [first, second]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"\n\n", "holds no prompts"),
        ("a.txt", b"caf\xe9", "no text in UTF-8"),
        ("a.txt", b"ok\na|b", r"a\.txt, line 2 holds “|”"),
        ("a.txt", b"ok\na\x07b", "line 2 holds .* control character"),
        ("a.txt", b"ok\n...", "line 2 holds nothing to read"),
        ("a.txt", b"x" * 601, "line 1 has 601 characters, expected 1 to 600"),
        ("a.txt", b"x\n" * 2_000_001, "larger than 4 MB"),
        ("a.csv", b"words\nhello", "no column `text`"),
        ("a.csv", b'text\n"hello', "save it as CSV"),
        ("a.csv", b"text,other\n,1", "line 2 has 0 characters"),
    ],
)
def test_bad_lists_are_told_in_one_sentence(space, tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(space("prompts").PromptError, match=sentence):
        space("prompts").read_list(tmp_path / name)


def test_what_is_stored_can_be_read_again(space, open_session, tmp_path, monkeypatch):
    prompts = space("prompts")
    monkeypatch.setattr(prompts, "MAX_PROMPTS", 3)
    session = open_session("first", "second")
    with pytest.raises(prompts.PromptError, match="There would be 4 prompts, at most 3"):
        session.add_prompts(prompts_of(space, "third", "fourth"))
    monkeypatch.setattr(prompts, "MAX_BYTES", 80)
    with pytest.raises(prompts.PromptError, match="All prompts together would fill more than"):
        session.add_prompts(prompts_of(space, "third and the last"))
    assert [prompt.text for prompt in open_session("second").prompts] == ["first", "second"]
    (tmp_path / "named.csv").write_text('text,list\nhello,"a\nname\x07 of a list"\nbye,\n')
    assert [prompt.list_name for prompt in prompts.read_list(tmp_path / "named.csv")] == ["a name of a list", "named"]


def test_a_missing_list_is_told(space, tmp_path):
    with pytest.raises(space("prompts").PromptError, match="cannot be read: No such file"):
        space("prompts").read_list(tmp_path / "no.txt")


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Room 12", "Room twelve"),
        ("0 or 07", "zero or zero seven"),
        ("1,250 at 3.50", "one thousand two hundred fifty at three point five zero"),
        ("40% & 700", "forty percent and seven hundred"),
        ("dial 5550123", "dial five five five zero one two three"),
        ("987654", "nine hundred eighty seven thousand six hundred fifty four"),
        ("100000", "one hundred thousand"),
        ("no number", "no number"),
    ],
)
def test_numbers_are_spelled(space, written, spoken):
    assert space("spelling").normalise(written) == spoken


# ---------------------------------------------------------------- coverage


@pytest.fixture(scope="module")
def coverage(space):
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader: pip install antiphon[synthesis]")
    return space("coverage")


def test_phonemes_are_those_of_the_text(coverage):
    reader = coverage.Reader()
    assert reader.phonemes("measure") == ["m", "ɛ", "ʒ", "ɝ"]
    assert reader.phonemes("yes, thing.") == ["j", "ɛ", "s", "θ", "ɪ", "ŋ"]  # two clauses
    readings = [["m", "ɛ", "ʒ"], ["ɛ", "ʒ"]]
    assert coverage.count_phonemes(readings) == {"m": 1, "ɛ": 2, "ʒ": 2}
    assert coverage.count_diphones(readings) == {("m", "ɛ"): 1, ("ɛ", "ʒ"): 2}
    assert "missing: i ɪ eɪ æ" in coverage.describe("two", readings)


def test_the_sentences_hold_every_phoneme_often(coverage, capsys):
    assert coverage.main([]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^sentences: \d+ prompts, \d+ phonemes, 39 of 39 different ones", printed, re.MULTILINE)
    whole = re.search(
        r"^all: (\d+) prompts.* (\d+) different diphones.*\n.*\n +(\S+) +(\d+) +(\d+)", printed, re.MULTILINE
    )
    _, diphones, rarest, count, prompts = whole.groups()
    assert int(count) >= 30
    # The README says what the command says.
    readme = " ".join((SPACE / "README.md").read_text(encoding="utf-8").split())
    assert f"the rarest ({rarest}) {count} times in {prompts} prompts, and {diphones} different pairs" in readme
    own = [len((SPACE / f"{name}.txt").read_text(encoding="utf-8").splitlines()) for name in ("sentences", "phrases")]
    assert f"{own[0]} sentences and {own[1]} phrases" in readme


def test_coverage_of_other_lists_is_printed_or_refused(coverage, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("a judge\n")
    assert coverage.main([str(tmp_path / "mine.txt")]) == 0
    assert capsys.readouterr().out.startswith("mine: 1 prompts, 4 phonemes, 2 of 39")
    assert coverage.main([str(tmp_path / "no.txt")]) == 1
    assert "cannot be read" in capsys.readouterr().err


# ---------------------------------------------------------------- takes


def problems_of(space, path: Path, text: str = TEXT) -> list[str]:
    takes = space("takes")
    return [problem.name for problem in takes.find_problems(takes.read_take(path), text)]


def test_a_good_take_has_no_problem_and_is_kept_bit_by_bit(space, tmp_path):
    samples = (speech() * 32768).astype(np.int16)
    take = space("takes").read_take(write(tmp_path / "take.wav", samples))
    np.testing.assert_array_equal(take.samples, samples)
    assert take.seconds == pytest.approx(3.8)
    assert take.speech_seconds == pytest.approx(3.0, abs=0.15)
    assert space("takes").find_problems(take, TEXT) == []


def test_level_and_noise_are_measured_right(space, tmp_path):
    # A sine of amplitude 0.1 has -23 dBFS; noise of deviation 0.001 has -60.
    tone = 0.1 * np.sin(2 * np.pi * 200 * np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE)
    quiet = np.zeros(SAMPLING_RATE)
    waveform = np.concatenate([quiet, tone, quiet]) + 1e-3 * np.random.default_rng(0).normal(size=4 * SAMPLING_RATE)
    take = space("takes").read_take(write(tmp_path / "tone.wav", waveform))
    assert take.speech_dbfs == pytest.approx(-23, abs=0.1)
    assert take.snr_db == pytest.approx(37, abs=1)  # of the noise the quietest frames count
    assert take.speech_seconds == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(
    ("waveform", "expected"),
    [
        (speech(level=1.0).clip(-1, 1), ["clipped"]),
        (speech(level=0.002, noise=1e-5), ["quiet"]),
        (speech(level=0.1, noise=0.03), ["noisy"]),
        (speech(seconds=1.0), ["short"]),
        (speech(seconds=11.0), ["long"]),
        (speech(silence=3.0), ["silent"]),
        (speech(level=0.004, noise=2e-3, seconds=11.0), ["quiet", "noisy", "long"]),
        (speech() + 0.3, []),  # a constant offset is no sound
    ],
    ids=["clipped", "quiet", "noisy", "short", "long", "silent", "three", "offset"],
)
def test_what_is_wrong_with_a_take_is_told(space, tmp_path, waveform, expected):
    assert problems_of(space, write(tmp_path / "take.wav", waveform)) == expected


def test_advice_says_what_to_do(space, tmp_path):
    takes = space("takes")
    take = takes.read_take(write(tmp_path / "take.wav", speech(level=1.0).clip(-1, 1)))
    [problem] = takes.find_problems(take, TEXT)
    assert problem.advice.startswith(f"It is clipped ({take.num_clipped} samples at full scale): move back")


def test_clipping_of_one_channel_is_seen(space, tmp_path):
    loud = np.stack([speech(level=1.0).clip(-1, 1), np.zeros_like(speech())], axis=1)
    assert problems_of(space, write(tmp_path / "take.wav", loud)) == ["clipped"]


def test_limits_on_length_follow_the_text(space, tmp_path):
    path = write(tmp_path / "take.wav", speech(seconds=0.3))
    assert problems_of(space, path, "no") == []
    assert problems_of(space, path, TEXT) == ["short"]
    long = write(tmp_path / "long.wav", speech(seconds=6.0))
    assert problems_of(space, long, TEXT) == []
    assert problems_of(space, long, "no") == ["long"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is empty; record again"),
        (lambda path: path.write_text("I am a text."), "no audio that can be read"),
        (lambda path: write(path, np.zeros(SAMPLING_RATE)), "No speech was heard"),
        (lambda path: write(path, 0.1 * np.random.default_rng(0).normal(size=48_000)), "No speech was heard"),
        (lambda path: write(path, np.eye(1, SAMPLING_RATE, 8000)[0]), "No speech was heard"),
        (lambda path: write(path, np.zeros(10)), "No speech was heard"),
        (lambda path: write(path, np.zeros(0)), "No speech was heard"),
        (lambda path: write(path, speech(61)), "longer than 60 s"),
        (lambda path: write(path, np.ones((9000, 3))), "has 3 channels"),
        (lambda path: write(path, speech(), 4000), "sampling rate of 4000 Hz"),
        (lambda path: write(path, np.full(9000, np.nan), subtype="FLOAT"), "not numbers"),
    ],
    ids=["empty", "text", "silence", "noise", "click", "tiny", "nothing", "long", "channels", "rate", "nan"],
)
def test_what_is_no_take_is_refused_in_one_sentence(space, tmp_path, make, sentence):
    make(tmp_path / "bad.wav")
    with pytest.raises(space("takes").TakeError, match=sentence) as error:
        space("takes").read_take(tmp_path / "bad.wav")
    assert str(tmp_path) not in str(error.value)


# ---------------------------------------------------------------- the folder


def rows_in(folder: Path) -> list[dict]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_kept_takes_are_a_corpus(open_session, take):
    session = open_session("first text", 'Say "yes", 2 times')
    for prompt in session.prompts:
        session.keep(prompt, take)
    corpus = load_corpus(session.folder)
    assert corpus["text"][:] == ["first text", 'Say "yes", 2 times']
    assert corpus["normalised_text"][:] == ["first text", 'Say "yes", two times']
    assert set(corpus["speaker_id"]) == {"me"}
    assert set(corpus["license"]) == {"CC0-1.0"}
    assert set(corpus["source"]) == {"test"}
    assert corpus["duration_seconds"][0] == pytest.approx(take.seconds, abs=1e-3)
    waveform, sampling_rate = decode(corpus[0])
    assert sampling_rate == SAMPLING_RATE
    np.testing.assert_array_equal((waveform * 32768).astype(np.int16), take.samples)
    assert soundfile.info(session.folder / corpus["file_name"][0]).subtype == "PCM_16"


def test_a_session_goes_on_where_it_stopped(open_session, take):
    session = open_session("first", "second", "third")
    session.keep(session.prompts[1], take)
    again = open_session("fourth", "second")
    assert [prompt.text for prompt in again.prompts] == ["first", "second", "third", "fourth"]
    assert list(again.takes) == ["second"]
    assert again.takes == session.takes
    assert open_session(speaker="you").takes == {}


def test_a_better_take_replaces_the_former(open_session, take):
    session = open_session()
    prompt = session.prompts[0]
    first = session.keep(prompt, take)
    second = session.keep(prompt, take, replaces=first.file_name)
    assert first.file_name != second.file_name
    assert [row["file_name"] for row in rows_in(session.folder)] == [second.file_name]
    assert not (session.folder / first.file_name).exists()
    assert session.strays == []


def test_another_window_overwrites_nothing_unheard(space, open_session, take):
    session = open_session()
    prompt = session.prompts[0]
    kept = session.keep(prompt, take)
    with pytest.raises(space("session").ConflictError, match="in another window"):
        session.keep(prompt, take)
    assert session.takes == {prompt.text: kept}


def test_another_process_is_refused(space, open_session):
    session = open_session()
    program = f"import sys; sys.path.insert(0, {str(SPACE)!r}); import app; sys.exit(app.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(session.folder), "--speaker", "you"]
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"app.py: error: {session.folder} is open in another studio; close that one, or choose another folder.\n"
    )


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [("Ana María", "ana-maria"), ("../../etc/passwd", "etc-passwd"), ("x" * 99, "x" * 40), ("a\n|b", "a-b")],
)
def test_names_of_speakers_are_safe(space, name, cleaned):
    assert space("session").clean_speaker(name) == cleaned


def test_file_names_of_speakers_do_not_collide(open_session, take):
    session = open_session(speaker="ana 00001")
    session.keep(session.prompts[0], take)
    session = open_session(speaker="ana")
    assert session.keep(session.prompts[0], take).file_name == "wavs/ana-00001.wav"
    assert len(load_corpus(session.folder)) == 2


def test_splits_follow_the_text_alone(space):
    split_of = space("session").split_of
    assert split_of("Turn it up!") == split_of("turn it up")
    counts = Counter(split_of(f"text {number}") for number in range(5000))
    assert {name: round(count / 5000, 1) for name, count in counts.items()} == {
        "train": 0.8, "validation": 0.1, "test": 0.1,
    }  # fmt: skip
    own = Counter(
        split_of(prompt.normalised_text)
        for path in space("prompts").OWN_LISTS
        for prompt in space("prompts").read_list(path)
    )
    assert min(own.values()) >= 30


BAD_FOLDERS = {
    "speaker": (lambda folder: None, {"speaker": "???"}, r"`speaker` is '\?\?\?'"),
    "file": (lambda folder: folder.write_text(""), {}, "cannot be written: Not a directory"),
    "foreign": (
        lambda folder: (folder.mkdir(), (folder / "metadata.csv").write_text("file_name,text\n")), {},
        "was not written by this studio",
    ),
    "prompts": (
        lambda folder: (folder.mkdir(), (folder / "prompts.csv").write_text("words\n")), {}, "no column `text`",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "options", "sentence"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_bad_folders_are_told_in_one_sentence(open_session, tmp_path, make, options, sentence):
    make(tmp_path / "takes")
    with pytest.raises(ValueError, match=sentence):
        open_session(**options)


def test_a_missing_file_and_a_damaged_table_are_told(space, open_session, take):
    session = open_session()
    kept = session.keep(session.prompts[0], take)
    (session.folder / kept.file_name).rename(session.folder / "away.wav")
    with pytest.raises(space("session").SessionError, match=r"lists 'wavs/me-00001\.wav', which is missing"):
        open_session()
    table = session.folder / "metadata.csv"
    table.write_text(table.read_text().replace("wavs/", "../"))
    with pytest.raises(space("session").SessionError, match=r"lists '\.\./me-00001\.wav'"):
        open_session()
    table.write_bytes(b"")
    with pytest.raises(space("session").SessionError, match="cannot be read"):
        open_session()


def test_what_a_killed_studio_left_over_is_cleared_or_named(space, open_session, take):
    session = open_session()
    session.keep(session.prompts[0], take)
    (session.folder / "wavs" / "me-00002.wav.part").write_bytes(b"half")
    (session.folder / "metadata.csv.part").write_bytes(b"half")
    stray = write(session.folder / "wavs" / "me-00007.wav", speech())
    again = open_session()
    assert not list(session.folder.rglob("*.part"))
    assert again.strays == [stray]
    assert again.keep(again.prompts[1], take).file_name == "wavs/me-00008.wav"  # the stray is nobody's to overwrite
    assert stray.is_file()


# ---------------------------------------------------------------- what goes wrong while writing

READER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from prompts import Prompt
from session import Session
from takes import read_take

folder, sounds = map(Path, sys.argv[2:4])
takes = {name: read_take(sounds / f"{name}.wav") for name in ("a", "b")}
prompts = [Prompt(str(number), str(number), "") for number in range(30)]
session = Session(folder, "me", license="CC0-1.0", source="test", prompts=prompts)

def keep(text):
    former = session.takes.get(text)
    name = "b" if former and float(former.duration_seconds) < 2 else "a"
    print("begin", text, name, flush=True)
    [prompt] = [prompt for prompt in session.prompts if prompt.text == text]
    session.keep(prompt, takes[name], replaces=former and former.file_name)
    print("kept", text, name, flush=True)
"""
FOREVER = """
start = len(session.takes)
while True:
    for number in range(30):
        keep(str((start + number) % 30))
"""
# Dies in the k-th of the calls that change the disk, of a first take and of one that replaces it.
AT_EVERY_CALL = """
count = 0

def dying(call):
    def wrapped(*arguments, **options):
        global count
        count += 1
        if count == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

os.fsync, os.replace = dying(os.fsync), dying(os.replace)
Path.open, Path.unlink = dying(Path.open), dying(Path.unlink)
keep("0")
keep("0")
print("calls", count, flush=True)
"""


@pytest.fixture
def sounds(tmp_path) -> Path:
    """A folder with two takes that can be told apart."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name, seconds in (("a", 1.0), ("b", 1.5)):
        write(folder / f"{name}.wav", speech(seconds))
    return folder


class Ledger:
    """What a studio that is killed again and again has called kept, and whether it is there."""

    def __init__(self, folder: Path, sounds: Path):
        self.folder, self.kept = folder, {}
        self.samples = {name: soundfile.read(sounds / f"{name}.wav", dtype="int16")[0] for name in ("a", "b")}

    def check(self, journal: str) -> None:
        """After a process is dead: `journal` is what it printed; what it had begun last may be there or not."""
        pending = None
        for line in journal.splitlines(keepends=True):
            word, text, name = line.split() if line.endswith("\n") else ("", "", "")
            if word == "begin":
                pending = (text, name)
            elif word == "kept":
                self.kept[text], pending = name, None
        found = self._read() if self.kept or (self.folder / "metadata.csv").exists() else {}
        assert set(self.kept) <= set(found)
        wrong = {item for item in found.items() if self.kept.get(item[0]) != item[1]}
        assert wrong <= {pending}
        self.kept = found

    def _read(self) -> dict[str, str]:
        found = {}
        for row in load_corpus(self.folder):
            samples = (decode(row)[0] * 32768).astype(np.int16)
            [found[row["text"]]] = [name for name, own in self.samples.items() if np.array_equal(own, samples)]
        return found


def start_reader(program: str, folder: Path, sounds: Path, journal: Path, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", READER + program, str(SPACE), str(folder), str(sounds), *map(str, arguments)]
    with journal.open("w") as output:
        return subprocess.Popen(command, stdout=output)


def test_killed_at_twenty_random_moments_it_loses_no_take(space, open_session, tmp_path, sounds):
    generator, ledger = np.random.default_rng(0), Ledger(tmp_path / "takes", sounds)
    num_kept = 0
    for number in range(20):
        journal = tmp_path / f"{number}.txt"
        process = start_reader(FOREVER, ledger.folder, sounds, journal)
        num_takes = generator.integers(0, 8)
        while journal.read_text().count("kept") < num_takes or "begin" not in journal.read_text():
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.02))  # so that it dies at any point of a take
        process.send_signal(signal.SIGKILL)
        process.wait()
        num_kept += journal.read_text().count("kept")
        ledger.check(journal.read_text())
    assert num_kept > 30  # some replaced others
    session = open_session("0")
    assert set(session.takes) == set(ledger.kept)
    assert len(session.strays) <= 20


def test_killed_in_any_call_that_changes_the_disk_it_loses_no_take(tmp_path, sounds):
    journal = tmp_path / "journal.txt"
    assert start_reader(AT_EVERY_CALL, tmp_path / "whole", sounds, journal, 0).wait() == 0
    num_calls = int(journal.read_text().split()[-1])
    assert num_calls == 17
    outcomes = set()
    for call in range(1, num_calls + 1):
        ledger = Ledger(tmp_path / f"killed_{call}", sounds)
        assert start_reader(AT_EVERY_CALL, ledger.folder, sounds, journal, call).wait() == -signal.SIGKILL
        ledger.check(journal.read_text())
        outcomes.add(ledger.kept.get("0"))
    assert outcomes == {None, "a", "b"}


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_full_disk_is_told_and_loses_nothing(space, open_session, take, monkeypatch, call):
    session = open_session()
    prompt, other = session.prompts
    kept = session.keep(prompt, take)
    num_calls, sync = 0, os.fsync

    def full(descriptor):
        nonlocal num_calls
        num_calls += 1
        if num_calls == call:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(space("session").SessionError, match="cannot be written: No space left on device; free some"):
        session.keep(prompt, take, replaces=kept.file_name)
    monkeypatch.undo()
    # Only at the last of the calls is the table already the new one; then the take that it replaced is still there.
    is_replaced = call == 4
    assert (session.takes[prompt.text] != kept) == is_replaced
    assert len(session.strays) == is_replaced
    assert not list(session.folder.rglob("*.part"))
    session.keep(other, take)
    assert load_corpus(session.folder)["text"][:] == [prompt.text, other.text]
    assert len(open_session().takes) == 2


def test_prompts_that_cannot_be_stored_are_not_added(space, open_session, monkeypatch):
    session = open_session()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(space("session").SessionError, match="No space left"):
        session.add_prompts(prompts_of(space, "third"))
    monkeypatch.undo()
    assert [prompt.text for prompt in session.prompts] == ["first text", "second text"]
    assert session.add_prompts(prompts_of(space, "second text", "third")) == 1
    assert [prompt.text for prompt in open_session("first text").prompts] == ["first text", "second text", "third"]


# ---------------------------------------------------------------- export


@pytest.fixture
def folder(open_session, take) -> Path:
    """A folder with takes of two speakers, and a sound that is no part of it."""
    for speaker in ("ana", "bo"):
        session = open_session("first, 1", "second", speaker=speaker)
        for prompt in session.prompts:
            session.keep(prompt, take)
    write(session.folder / "wavs" / "stray.wav", speech())
    return session.folder


def test_export_is_a_corpus(space, folder, tmp_path, capsys):
    assert space("export").main([str(folder), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"takes in {tmp_path / 'out'}: 4\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metadata.csv", "wavs"]
    assert not (tmp_path / "out" / "wavs" / "stray.wav").exists()
    first, second = (load_corpus(place) for place in (folder, tmp_path / "out"))
    assert first.remove_columns("audio")[:] == second.remove_columns("audio")[:]
    assert all(np.array_equal(decode(one)[0], decode(other)[0]) for one, other in zip(first, second))


def test_export_in_the_layout_of_ljspeech(space, folder, tmp_path, take):
    options = ["--layout", "ljspeech", "--speaker", "Ana", "--sampling-rate", "22050"]
    assert space("export").main([str(folder), str(tmp_path / "lj"), *options]) == 0
    # As its readers do: no header, no quotes.
    lines = (tmp_path / "lj" / "metadata.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split("|") for line in lines] == [
        ["ana-00001", "first, 1", "first, one"], ["ana-00002", "second", "second"],
    ]  # fmt: skip
    for name in ("ana-00001", "ana-00002"):
        info = soundfile.info(tmp_path / "lj" / "wavs" / f"{name}.wav")
        assert (info.samplerate, info.channels, info.subtype) == (22_050, 1, "PCM_16")
        assert info.duration == pytest.approx(take.seconds, abs=1e-3)


def test_what_cannot_be_exported_is_told_in_one_sentence(space, folder, tmp_path, capsys):
    main = space("export").main
    for arguments, sentence in (
        ([folder, tmp_path / "out", "--layout", "ljspeech"], "choose one of ana, bo by --speaker"),
        ([folder, tmp_path / "out", "--speaker", "eve"], "There are no takes of 'eve' among those of ana, bo"),
        ([tmp_path, tmp_path / "out"], "There are no takes yet"),
        ([folder, folder], "exists already; name a new folder"),
        ([folder, tmp_path / "out", "--sampling-rate", "1"], "expected 8000 to 192000 Hz"),
        ([folder, folder / "metadata.csv" / "out"], "cannot be written: Not a directory"),
    ):
        assert main([str(argument) for argument in arguments]) == 1
        message = capsys.readouterr().err
        assert message.startswith("export.py: error: ")
        assert message.count("\n") == 1
        assert sentence in message
        assert not (tmp_path / "out").exists()
    (folder / "wavs" / "bo-00002.wav").write_bytes(b"damaged")
    assert main([str(folder), str(tmp_path / "out"), "--sampling-rate", "8000"]) == 1
    assert "bo-00002.wav is damaged" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == []


# ---------------------------------------------------------------- the page's parts


@pytest.fixture
def studio(space):
    pytest.importorskip("gradio", reason="needs gradio: pip install antiphon[spaces]")
    return space("studio")


def place_of(contents):
    return contents[0].text


def test_prompts_come_one_by_one(studio, open_session, take):
    session = open_session("one", "two", "three")
    session.keep(session.prompts[0], take)
    page = studio.Studio(session)
    shown = page.begin(studio.ALL)
    assert place_of(shown) == "two"
    assert "1 of 3 prompts recorded, 0.1 minutes" in shown[2]
    assert place_of(page.step(shown[0], studio.ALL, -1)) == "one"
    assert place_of(page.step(shown[0], studio.ALL, 1)) == "three"
    assert place_of(page.step(page.go_to(3)[0], studio.ALL, 1)) == "one"
    assert place_of(page.step(page.go_to(3)[0], studio.MISSING, 1)) == "two"
    assert "prompts 1 to 3" in page.go_to(4)[1]
    assert "prompts 1 to 3" in page.go_to(None)[1]
    assert "choice is empty" in page.begin(studio.PROBLEMATIC)[1]
    assert place_of(page.begin("List: mine")) == "two"
    assert "load this page again" in page.keep("some.wav", None, studio.ALL)[1]


def test_takes_lead_on_to_what_is_missing(studio, open_session, tmp_path):
    path = str(write(tmp_path / "take.wav", speech()))
    page = studio.Studio(open_session("one", TEXT, "three"))
    shown = page.go_to(2)
    verdict, button, again = page.check(path, shown[0])
    assert "A good take" in verdict
    assert (button.value, button.variant, again.variant) == (studio.KEEP, "primary", "secondary")
    after = page.keep(path, shown[0], studio.ALL)
    assert place_of(after) == "three"
    _, button, again = page.check(path, after[0])
    assert (button.value, button.variant, again.variant) == (studio.KEEP_ANYWAY, "secondary", "primary")
    after = page.keep(path, after[0], studio.ALL)
    assert place_of(after) == "one"
    assert "with a problem" in after[2]
    assert place_of(page.begin(studio.PROBLEMATIC)) == "three"
    after = page.keep(path, after[0], studio.ALL)
    assert studio.FINISHED in after[1]
    again = page.keep(path, after[0], studio.ALL)
    assert place_of(again) == "one"
    assert "replaced the former" in again[1]
    assert [row["problems"] for row in rows_in(page.session.folder)] == ["", "long", "long"]


def test_a_take_of_another_window_is_shown_before_it_is_replaced(studio, open_session, tmp_path):
    path = str(write(tmp_path / "take.wav", speech()))
    page = studio.Studio(open_session("one", "two"))
    place = page.begin(studio.ALL)[0]
    page.keep(path, place, studio.ALL)
    refused = page.keep(path, place, studio.ALL)
    assert "in another window" in refused[1]
    assert refused[0].kept == "wavs/me-00001.wav"
    assert "replaced the former" in page.keep(path, refused[0], studio.ALL)[1]


def test_a_damaged_take_is_told_and_can_be_recorded_again(studio, open_session, tmp_path):
    path = str(write(tmp_path / "take.wav", speech()))
    page = studio.Studio(open_session("one", "two"))
    page.keep(path, page.begin(studio.ALL)[0], studio.ALL)
    (page.session.folder / "wavs" / "me-00001.wav").write_bytes(b"damaged")
    shown = page.go_to(1)
    assert "wavs/me-00001.wav is damaged; record this text again" in shown[1]
    assert "replaced the former" in page.keep(path, shown[0], studio.ALL)[1]


def test_a_recording_that_is_no_take_cannot_be_kept(studio, open_session, tmp_path):
    path = str(write(tmp_path / "silence.wav", np.zeros(SAMPLING_RATE)))
    page = studio.Studio(open_session())
    place = page.begin(studio.ALL)[0]
    verdict, button, _ = page.check(path, place)
    assert "No speech was heard" in verdict
    assert button.interactive is False
    assert "No speech was heard" in page.keep(path, place, studio.ALL)[1]
    assert "Record the text first" in page.keep(None, place, studio.ALL)[1]
    assert page.check(None, place)[0] == ""
    assert not (page.session.folder / "metadata.csv").exists()


def test_lists_are_imported_once(studio, open_session, tmp_path):
    page = studio.Studio(open_session())
    (tmp_path / "more.txt").write_text("second text\nthird\n")
    notice, view, progress = page.import_list(str(tmp_path / "more.txt"))
    assert "New prompts: 1; there already: 1." in notice
    assert view.choices[-1] == ("List: more", "List: more")
    assert "0 of 3 prompts" in progress
    assert "New prompts: 0; there already: 2." in page.import_list(str(tmp_path / "more.txt"))[0]
    (tmp_path / "bad.csv").write_text("words\n")
    assert "no column" in page.import_list(str(tmp_path / "bad.csv"))[0]


def test_the_page_exports_an_archive(studio, open_session, take):
    page = studio.Studio(open_session())
    [(notice, _)] = page.export("ljspeech")
    assert "no takes yet" in notice
    page.session.keep(page.session.prompts[0], take)
    steps = page.export("ljspeech")
    notice, file = next(steps)
    assert "takes: 1" in notice
    path = Path(file.value["path"])
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["me-ljspeech/metadata.csv", "me-ljspeech/wavs/me-00001.wav"]
        assert archive.read("me-ljspeech/metadata.csv") == b"me-00001|first text|first text\n"
    assert path.name == "me-ljspeech.zip"
    assert list(steps) == []


def test_texts_are_escaped(space):
    hostile = '<img src=x onerror="alert(1)">'
    prompt = space("prompts").Prompt(hostile, hostile, hostile)
    drawn = space("pages").draw_prompt(prompt, 1, 1, None) + space("pages").draw_notice(hostile)
    assert "<img" not in drawn
    assert drawn.count("&lt;img") == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no folder was named"),
        (["takes"], "no speaker was named"),
        (["takes", "--speaker", "me", "--prompts", "no.txt"], "no.txt cannot be read"),
        (["takes", "--speaker", "me", "--license", " "], "`license` is ''"),
    ],
)
def test_what_stands_in_the_way_is_one_sentence(studio, space, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("ANTIPHON_STUDIO_FOLDER", "ANTIPHON_STUDIO_SPEAKER"):
        monkeypatch.delenv(name, raising=False)
    assert space("app").main(arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"app.py: error: {sentence}")
    assert message.count("\n") == 1


def test_a_new_folder_begins_with_the_prompts_of_the_space(studio, space, tmp_path):
    app = space("app")
    session = app.open_session(app.parse([str(tmp_path / "takes"), "--speaker", "me"]))
    try:
        assert {prompt.list_name for prompt in session.prompts} == {"sentences", "phrases"}
        write(session.folder / "wavs" / "stray.wav", speech())
        assert (
            app.describe(session).splitlines()[1]
            == "sounds that metadata.csv does not list, left as they are: 1 (stray.wav)"
        )
        assert "licence of new takes: all rights reserved" in app.describe(session)
    finally:
        session.close()
    (tmp_path / "mine.txt").write_text("my own\n")
    session = app.open_session(
        app.parse([str(tmp_path / "own"), "--speaker", "me", "--prompts", str(tmp_path / "mine.txt")])
    )
    session.close()
    assert [prompt.text for prompt in session.prompts] == ["my own"]


def test_what_the_hub_would_install_is_what_is_imported():
    requirements = {re.split("[<>=]", line)[0] for line in (SPACE / "requirements.txt").read_text().split()}
    # Coverage is for whoever writes lists, and its engine is GPL-3.
    assert imported_packages(SPACE) - {"espeakng_loader"} == requirements
