"""What a listening test is: read from its folder (`test.yaml`, `systems/`, `references/`), and checked."""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import yaml

KINDS = ("mos", "smos", "ab", "abx")
REQUIRED = ("kind", "pages_per_listener", "seed")
OPTIONAL = {
    **dict.fromkeys(("title", "instructions", "question"), str),
    "scale": dict,
    "pairs": list,
    **dict.fromkeys(("with_reference", "allow_no_preference"), bool),
    **dict.fromkeys(("anchors", "attention_checks"), list),
    **dict.fromkeys(("max_failed_checks", "max_listeners"), int),
}
QUALITY = {1: "Bad", 2: "Poor", 3: "Fair", 4: "Good", 5: "Excellent"}  # ITU-T P.800, annex B
SIMILARITY = {
    1: "Surely another voice", 2: "Probably another", 3: "Cannot tell", 4: "Probably the same", 5: "Surely the same"
}  # fmt: skip
QUESTIONS = {
    "mos": "How good does it sound?",
    "smos": "How similar are the two voices?",
    "ab": "Which of the two do you prefer?",
    "abx": "Is X the same as A or the same as B?",
}
NO_PREFERENCE = "none"
MAX_TEXT = 4000


class DefinitionError(ValueError):
    """The folder holds no test that can be run; the message is one sentence with its remedy."""


@dataclass(frozen=True)
class AttentionCheck:
    """A page whose right answer is known: sounds by role, and the answers that pass."""

    sounds: Mapping[str, Path]
    expected: tuple[str, ...]


@dataclass(frozen=True)
class Anchor:
    """An example of an answer, played before the test begins."""

    answer: str
    sounds: Mapping[str, Path]


@dataclass(frozen=True)
class ListeningTest:
    """A checked test.

    Args:
        kind: One of `KINDS`.
        answers: Labels by answer, in the order shown.
        conditions: What a page presents: (system,) where systems are rated, (system, system) where they are compared.
        roles: Of a page's sounds, in the order shown.
        pages_per_listener: Without attention checks.
        max_failed_checks: Whoever fails more is left out of the second analysis.
    """

    folder: Path
    kind: str
    title: str
    instructions: str
    question: str
    answers: Mapping[str, str]
    systems: tuple[str, ...]
    items: tuple[str, ...]
    conditions: tuple[tuple[str, ...], ...]
    roles: tuple[str, ...]
    anchors: tuple[Anchor, ...]
    checks: tuple[AttentionCheck, ...]
    pages_per_listener: int
    max_failed_checks: int
    max_listeners: int
    seed: int

    def system_sound(self, system: str, item: str) -> Path:
        """Path of what a system made of an item."""
        return self.folder / "systems" / system / f"{item}.wav"

    def reference_sound(self, item: str) -> Path:
        """Path of an item's reference."""
        return self.folder / "references" / f"{item}.wav"

    @property
    def sounds(self) -> list[Path]:
        """Every sound of the test, once."""
        paths = {self.system_sound(system, item) for system in self.systems for item in self.items}
        if "reference" in self.roles:
            paths |= {self.reference_sound(item) for item in self.items}
        for entry in (*self.anchors, *self.checks):
            paths |= set(entry.sounds.values())
        return sorted(paths)

    @cached_property
    def sha256(self) -> str:
        """Digest of `test.yaml` and every sound, by which results know their test again."""
        digest = hashlib.sha256()
        for path in (self.folder / "test.yaml", *self.sounds):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(self.folder).as_posix()} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    def to_dict(self) -> dict:
        """What an analysis needs to know, for JSON."""
        names = ("kind", "title", "question", "answers", "systems", "items", "conditions", "pages_per_listener")
        described = {name: getattr(self, name) for name in (*names, "max_failed_checks", "max_listeners", "seed")}
        return described | {"num_attention_checks": len(self.checks), "sha256": self.sha256}


def read_test(folder: Path) -> ListeningTest:
    """Reads and checks the definition of a test; the sounds themselves are checked when their loudness is measured.

    Raises:
        DefinitionError: Something is missing, unknown, of another type, or does not fit.
    """
    folder = Path(folder).resolve()
    entries = _read_yaml(folder / "test.yaml")
    kind = entries["kind"]
    systems, items = _read_systems(folder / "systems")
    with_reference = kind == "smos" or bool(entries.get("with_reference"))
    if with_reference and kind in ("mos", "abx"):
        raise DefinitionError(f"`with_reference` is for kind ab; kind {kind} has none, so remove it.")
    if with_reference:
        _check_references(folder / "references", items)
    roles = {"mos": ("sample",), "smos": ("reference", "sample"), "ab": ("A", "B"), "abx": ("A", "B", "X")}[kind]
    if kind == "ab" and with_reference:
        roles = ("reference", *roles)
    answers = _answers(kind, entries)
    conditions = _pairs(entries, systems) if kind in ("ab", "abx") else tuple((system,) for system in systems)
    most = len(conditions) * len(items)
    return ListeningTest(
        folder=folder,
        kind=kind,
        title=_text(entries, "title", "Listening test"),
        instructions=_text(entries, "instructions", "Please use headphones, in a quiet room."),
        question=_text(entries, "question", QUESTIONS[kind]),
        answers=answers,
        systems=systems,
        items=items,
        conditions=conditions,
        roles=roles,
        anchors=tuple(_anchor(folder, entry, roles, answers) for entry in entries.get("anchors", [])),
        checks=tuple(_check(folder, entry, roles, answers) for entry in entries.get("attention_checks", [])),
        pages_per_listener=_number(entries, "pages_per_listener", 1, most),
        max_failed_checks=_number(entries, "max_failed_checks", 0, 100, 0),
        max_listeners=_number(entries, "max_listeners", 1, 100_000, 1000),
        seed=_number(entries, "seed", 0, 2**32 - 1),
    )


def _read_yaml(path: Path) -> dict:
    if not path.is_file():
        raise DefinitionError(f"{path} does not exist; a test is a folder with test.yaml and systems/.")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DefinitionError(f"test.yaml is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, dict):
        raise DefinitionError("test.yaml holds no keys; begin with `kind: mos`.")
    known = (*REQUIRED, *OPTIONAL)
    for name in entries:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}."
            raise DefinitionError(f"test.yaml has the unknown key `{name}`; {hint}")
    if missing := [name for name in REQUIRED if name not in entries]:
        raise DefinitionError(f"test.yaml lacks `{missing[0]}`; add it.")
    for name, kind in OPTIONAL.items():
        if name in entries and not isinstance(entries[name], kind):
            raise DefinitionError(f"`{name}` is {entries[name]!r}, expected a {kind.__name__}.")
    if entries["kind"] not in KINDS:
        raise DefinitionError(f"`kind` is {entries['kind']!r}, expected one of {', '.join(KINDS)}.")
    return entries


def _text(entries: Mapping, name: str, default: str) -> str:
    text = entries.get(name, default).strip()
    if not 0 < len(text) <= MAX_TEXT:
        raise DefinitionError(f"`{name}` has {len(text)} characters, expected 1 to {MAX_TEXT}.")
    return text


def _number(entries: Mapping, name: str, lowest: int, highest: int, default: int | None = None) -> int:
    number = entries.get(name, default)
    if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
        raise DefinitionError(f"`{name}` is {number!r}, expected a whole number from {lowest} to {highest}.")
    return number


def _read_systems(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the systems, and of the items that each of them has."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not folders:
        raise DefinitionError("systems/ holds no folder; expected systems/NAME/ITEM.wav.")
    items = {path.name: _wav_names(path) for path in folders}
    first, wanted = next(iter(items.items()))
    for name, own in items.items():
        if own != wanted:
            item = sorted(own ^ wanted)[0]
            has, lacks = (name, first) if item in own else (first, name)
            raise DefinitionError(f"systems/{has} has {item}.wav but systems/{lacks} has not; expected the same items.")
    if not wanted:
        raise DefinitionError(f"systems/{first} holds no .wav file; expected systems/NAME/ITEM.wav.")
    return tuple(items), tuple(sorted(wanted))


def _wav_names(folder: Path) -> set[str]:
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for path in files:
        if path.suffix != ".wav":
            raise DefinitionError(f"{folder.parent.name}/{folder.name} holds {path.name}, which is no .wav; remove it.")
    return {path.stem for path in files}


def _check_references(folder: Path, items: tuple[str, ...]) -> None:
    for item in items:
        if not (folder / f"{item}.wav").is_file():
            raise DefinitionError(f"references/{item}.wav does not exist; this test needs a reference of each item.")


def _answers(kind: str, entries: Mapping) -> dict[str, str]:
    """Labels by answer; the highest rating comes first."""
    if kind in ("ab", "abx"):
        if "scale" in entries:
            raise DefinitionError(f"`scale` is for kinds mos and smos; kind {kind} has none, so remove it.")
        answers = {"A": "A", "B": "B"}
        if entries.get("allow_no_preference"):
            if kind == "abx":
                raise DefinitionError("`allow_no_preference` is for kind ab; abx wants a guess, so remove it.")
            answers[NO_PREFERENCE] = "No preference"
        return answers
    for name in ("pairs", "allow_no_preference"):
        if name in entries:
            raise DefinitionError(f"`{name}` is for comparisons; kind {kind} rates one at a time, so remove it.")
    scale = entries.get("scale", QUALITY if kind == "mos" else SIMILARITY)
    if sorted(scale, key=str) != list(range(1, len(scale) + 1)) or not 2 <= len(scale) <= 9:
        raise DefinitionError(f"`scale` has the values {list(scale)}, expected labels of 1, 2, … up to at most 9.")
    return {str(value): f"{value} – {scale[value]}" for value in sorted(scale, reverse=True)}


def _pairs(entries: Mapping, systems: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    if len(systems) < 2:
        raise DefinitionError(f"systems/ holds only {systems[0]}; a comparison needs two systems.")
    pairs = entries.get("pairs", [list(pair) for pair in combinations(systems, 2)])
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(systems):
            raise DefinitionError(f"`pairs` holds {pair!r}, expected two different systems of {', '.join(systems)}.")
    ordered = [tuple(sorted(pair)) for pair in pairs]
    if not ordered or len(set(ordered)) < len(ordered):
        raise DefinitionError("`pairs` is empty or names a pair twice; name each pair once, or remove it for all.")
    return tuple(ordered)


def _anchor(folder: Path, entry: object, roles: tuple[str, ...], answers: Mapping[str, str]) -> Anchor:
    names = ("reference", "sample") if "reference" in roles and "sample" in roles else ("sample",)
    if "sample" not in roles:
        raise DefinitionError("`anchors` are examples of ratings, for kinds mos and smos; remove them.")
    sounds, given = _known_page(folder, "anchors", entry, names, "answer")
    (answer,) = _known_answers("anchors", [given], answers)
    return Anchor(answer, sounds)


def _check(folder: Path, entry: object, roles: tuple[str, ...], answers: Mapping[str, str]) -> AttentionCheck:
    sounds, given = _known_page(folder, "attention_checks", entry, roles, "expected")
    return AttentionCheck(
        sounds, _known_answers("attention_checks", given if isinstance(given, list) else [given], answers)
    )


def _known_page(folder: Path, name: str, entry: object, roles: tuple[str, ...], key: str) -> tuple[dict, object]:
    """Sounds by role, and what stands below `key`."""
    if not isinstance(entry, dict) or set(entry) != {*roles, key}:
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        raise DefinitionError(f"`{name}` has an entry with {found}; expected {', '.join((*roles, key))}.")
    sounds = {}
    for role in roles:
        path = (folder / str(entry[role])).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise DefinitionError(f"`{name}` names {entry[role]!r}, which is no file in this test's folder.")
        sounds[role] = path
    return sounds, entry[key]


def _known_answers(name: str, given: list, answers: Mapping[str, str]) -> tuple[str, ...]:
    expected = tuple(str(answer) for answer in given)
    if not expected or not set(expected) <= set(answers) or len(set(expected)) == len(answers):
        raise DefinitionError(f"`{name}` expects {given!r}, expected some, not all, of {', '.join(answers)}.")
    return expected
