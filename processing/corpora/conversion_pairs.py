"""Makes the stored pairs of voice conversion: whose words, in whose voice, from which reference, under what strain."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

import pandas as pd

from .schema import CorpusError

REFERENCE_SECONDS = 3
RARE_ACCENTS = ("indian", "australia", "england")
_SEED = 0
_SEPARATOR = ";"
_NUM_QUICK = 6  # of each scenario
_NUM_HELD_OUT = 3  # recordings of a target that no system is given, if it has twice as many
_READ = ("mini_librispeech", "vctk_parallel")
_TARGETS = (*_READ, "an4", "librispeech_speakers")
_SOURCE_SECONDS = (3, 8)
_SOURCES_PER_SPEAKER = 4
_TARGETS_PER_ACCENT = 5
_SENTENCES_PER_PAIR = 3
_NUM_EACH_LANGUAGE = 12
_EMOTIONS, _NUM_EACH_EMOTION = ("neutral", "anger", "happiness", "sadness"), 8
_NUM_STRAINED, _NOISE_LEVELS_DB, _REFERENCE_LENGTHS = 8, (20, 10, 0), (1, 3, 10)


def make_conversion_pairs(items: pd.DataFrame) -> pd.DataFrame:
    """Pair sources with targets among the speakers of validation and of test; speakers and recordings take turns.

    Validation, whose corpora have no rare accent, no German and no parallel sentences, gets read English only. Wherever
    a scenario has targets of whom some recordings can be held out, only these are chosen.

    Args:
        items: side, corpus, name, speaker_id, gender, text, duration_seconds, language, accent, and label (an emotion)
            of every recording.

    Returns:
        One row a conversion, as `voices.load_conversion_pairs` tells.
    """
    rows = []
    for side in ("validation", "test"):
        maker = _PairMaker(items[items["side"] == side])
        read = [*maker.by_gender("same_gender"), *maker.by_gender("cross_gender")]
        special = [maker.accents, maker.languages, maker.emotions, maker.parallel] if side == "test" else []
        own = [*read, *(row for make in special for row in make()), *maker.strained(read)]
        rows += [{"side": side, **row} for row in own]
    pairs = pd.DataFrame(rows)
    return pairs.assign(quick=pairs.groupby(["side", "scenario"], sort=False).cumcount() < _NUM_QUICK)


class _Deck:
    """Deals cards in turn, so that each comes as often as the others."""

    def __init__(self, cards: Iterable[str]):
        self.cards = list(cards)

    def deal(self, fitting: Collection[str] | None = None) -> str:
        """The card among the fitting ones, or among all, that was not dealt for longest."""
        card = next((card for card in self.cards if fitting is None or card in fitting), None)
        if card is None:
            raise CorpusError("no recording fits a scenario; the corpora are not those that the lists are made from.")
        self.cards.remove(card)
        self.cards.append(card)
        return card


class _PairMaker:
    def __init__(self, items: pd.DataFrame):
        # All orders below follow from this one.
        self._items = items.sort_values("name").sample(frac=1, random_state=_SEED).set_index("name")
        self._gender = self._items.groupby("speaker_id")["gender"].first()
        usable = self._usable()
        of_speaker = usable.groupby("speaker_id")["corpus"]
        number = (of_speaker.transform("size") // 2).clip(upper=_NUM_HELD_OUT)
        is_held_out = of_speaker.cumcount(ascending=False) < number
        self._held_out = usable[is_held_out]
        self._given = usable[~is_held_out]
        self._read = self._clips(_READ, self._items["duration_seconds"].between(*_SOURCE_SECONDS))
        self._targets = self._speakers(_TARGETS)

    def by_gender(self, scenario: str) -> Iterator[dict]:
        """Read English, to targets of the same or of the other gender."""
        for _ in range(_SOURCES_PER_SPEAKER):
            for speaker, clips in self._read.items():
                is_same = self._gender == self._gender[speaker]
                fitting = set(self._gender.index[is_same == (scenario == "same_gender")]) - {speaker}
                yield self._pair(scenario, clips.deal(), self._targets.deal(fitting))

    def accents(self) -> Iterator[dict]:
        """Rare accents to readers of LibriSpeech; these to rare accents and to VCTK's speakers of England."""
        rare = self._items["accent"].isin(RARE_ACCENTS)
        readers = self._speakers(("mini_librispeech", "librispeech_speakers"))
        for name in self._items.index[rare]:
            yield self._pair("accent", name, readers.deal(), label=f"from {self._items.at[name, 'accent']}")
        sources = _Deck(speaker for speaker in self._read if speaker.startswith("ls-"))
        for targets in (self._speakers(("common_voice_en",), rare), self._speakers(("vctk_parallel",))):
            for _ in range(_TARGETS_PER_ACCENT):
                target = targets.deal()
                accent = self._items.loc[self._items["speaker_id"] == target, "accent"].iloc[0]
                label = f"to {accent if accent in RARE_ACCENTS else 'england'}"
                yield self._pair("accent", self._read[sources.deal()].deal(), target, label=label)

    def languages(self) -> Iterator[dict]:
        """German to English voices and English to German voices."""
        neutral = self._items["label"] == "neutral"
        german, german_clips = self._speakers(("emodb4",), neutral), self._clips(("emodb4",), neutral)
        english = _Deck(self._read)
        for _ in range(_NUM_EACH_LANGUAGE):
            yield self._pair("cross_language", german_clips[german.deal()].deal(), self._targets.deal())
            yield self._pair("cross_language", self._read[english.deal()].deal(), german.deal())

    def emotions(self) -> Iterator[dict]:
        """Acted emotions to a neutral reference of another actor, who also said the sentence with that emotion."""
        actors, targets = (self._speakers(("emodb4",)) for _ in range(2))
        clips = {label: self._clips(("emodb4",), self._items["label"] == label) for label in _EMOTIONS}
        for _ in range(_NUM_EACH_EMOTION):
            for label in _EMOTIONS:
                own = clips[label][actors.deal(clips[label])]
                name = own.deal([clip for clip in own.cards if self._parallels(clip)])
                text = self._items.at[name, "text"]
                reachable = [other for other in self._parallels(name) if self._references(other, text)]
                target = targets.deal(reachable)
                yield self._pair("expressive", name, target, label=label)

    def parallel(self) -> Iterator[dict]:
        """VCTK's sentences to speakers who read them too, each to each."""
        speakers = [speaker for speaker in self._read if speaker.startswith("vctk-")]
        for _ in range(_SENTENCES_PER_PAIR):
            for shift in range(1, len(speakers)):
                for source, target in zip(speakers, speakers[shift:] + speakers[:shift]):
                    own = self._read[source]
                    name = own.deal([clip for clip in own.cards if target in self._parallels(clip)])
                    yield self._pair("parallel", name, target)

    def strained(self, read: list[dict]) -> Iterator[dict]:
        """One pair of each reader again, under noise and from references of several lengths."""
        chosen, longest = [], max(_REFERENCE_LENGTHS)
        for index, speaker in enumerate(self._read):
            scenario = ("same_gender", "cross_gender")[index % 2]
            own = [pair for pair in read if (pair["source_speaker"], pair["scenario"]) == (speaker, scenario)]
            long = [pair for pair in own if self._references(pair["target_speaker"], pair["text"], longest)]
            if not long:
                raise CorpusError(f"no target of {speaker} has a reference of {longest} s; the corpora are others.")
            heard = Counter(pair["target_speaker"] for pair in chosen)
            chosen.append(min(long, key=lambda pair: heard[pair["target_speaker"]]))
        for pair in chosen:
            for level in _NOISE_LEVELS_DB:
                yield {**pair, "scenario": "noisy_reference", "reference_snr_db": level}
        for pair in chosen:
            for seconds in _REFERENCE_LENGTHS:
                references = self._references(pair["target_speaker"], pair["text"], seconds)
                yield {**pair, "scenario": "reference_seconds", "reference_seconds": seconds, **references}

    def _pair(self, scenario: str, name: str, target: str, label: str | None = None) -> dict:
        source = self._items.loc[name]
        pair = {
            "scenario": scenario,
            "source_file": name,
            "source_speaker": source["speaker_id"],
            "target_speaker": target,
            "reference_files": None,
            "reference_seconds": REFERENCE_SECONDS,
            "reference_snr_db": None,
            "parallel_file": self._parallels(name).get(target),
            "language": source["language"][:2],
            "label": label,
            "text": source["text"],
        }
        return {**pair, **self._references(target, source["text"])}

    def _references(self, speaker: str, text: str, seconds: float = REFERENCE_SECONDS) -> dict | None:
        """The speaker's first recordings that last so long together; None if they do not. Never this text."""
        items = self._given[(self._given["speaker_id"] == speaker) & (self._given["text"] != text)]
        reached = items["duration_seconds"].cumsum()
        if len(items) == 0 or reached.iloc[-1] < seconds:
            return None
        return {"reference_files": _SEPARATOR.join(items.index[: reached.searchsorted(seconds) + 1])}

    def _parallels(self, name: str) -> dict[str, str]:
        """By other speaker, the same words with the same emotion, unless that recording is held out."""
        source = self._items.loc[name]
        same = self._items[(self._items["text"] == source["text"]) & ~self._items.index.isin(self._held_out.index)]
        same = same[same["label"].fillna("") == self._items["label"].fillna("")[name]]
        same = same[same["speaker_id"] != source["speaker_id"]].sort_index()
        return {speaker: names[0] for speaker, names in same.groupby("speaker_id").groups.items()}

    def _speakers(self, corpora: Iterable[str], fitting: pd.Series | None = None) -> _Deck:
        """The speakers whose recordings suffice for a reference: those with others held out, or all if nobody has."""
        items = self._given[self._given["corpus"].isin(corpora)]
        if fitting is not None:
            items = items[fitting[items.index]]
        seconds = items.groupby("speaker_id", sort=False)["duration_seconds"].sum()
        long = seconds.index[seconds >= REFERENCE_SECONDS]
        judged = long[long.isin(self._held_out["speaker_id"])]
        return _Deck(judged if len(judged) else long)

    def _usable(self) -> pd.DataFrame:
        """Recordings that tell a voice: not acted, nor an utterance that two corpora have."""
        utterances = self._items.index.to_series().str.rpartition("/")[2]
        acted = self._items["label"].isin(_EMOTIONS[1:])
        return self._items[~acted & ~utterances.duplicated(keep=False)]

    def _clips(self, corpora: Iterable[str], fitting: pd.Series) -> dict[str, _Deck]:
        items = self._items[self._items["corpus"].isin(corpora) & fitting]
        return {speaker: _Deck(own.index) for speaker, own in items.groupby("speaker_id", sort=False)}
