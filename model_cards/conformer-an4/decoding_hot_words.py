"""Hot words: names and terms that are expected, and are favoured while they are being written."""

from collections import deque
from collections.abc import Iterable


class HotWords:
    """Rewards every character of an expected word or phrase, and takes that back where the match breaks.

    A match begins and ends between words: "ann" is found neither in "joann" nor in "anne". The space or the end of the
    text that closes a match is rewarded too. Where a match breaks inside which another phrase was found or begun, that
    one stays. Characters that end one phrase and begin another count for both.

    Args:
        phrases: In the tokenizer's normal form; empty ones are left out.
        bonus: For each character, in nats.

    Source: Aho and Corasick 1975, "Efficient String Matching", for the search; rewards that are withdrawn as in Zhao et
        al. 2019, "Shallow-Fusion End-to-End Contextual Biasing", section 3.
    """

    start = 1

    def __init__(self, phrases: Iterable[str], bonus: float):
        self.phrases = sorted({phrase for phrase in phrases if phrase.strip()})
        self.bonus = bonus
        # A trie. State 0 is inside a word that is no match, state 1 after a space, where any phrase may begin.
        self._following: list[dict[str, int]] = [{" ": 1}, {}]
        self._depth = [0, 0]  # characters that match
        self._settled = [0, 0]  # those of them that belong to a complete phrase
        for phrase in self.phrases:
            self._insert(f"{phrase} ")
        self._fallback = self._find_fallbacks()

    def step(self, state: int, character: str) -> tuple[int, float]:
        """The state after one more character of the text, and how that changes the reward."""
        child = self._following[state].get(character)
        if child is not None:
            return child, self.bonus * (self._depth[child] - self._depth[state])
        pending = self._depth[state] - self._settled[state]
        kept = 0
        while state:
            state = self._fallback[state]
            if character in self._following[state]:
                state = self._following[state][character]
                break
            if not kept and self._settled[state] <= pending:
                kept = self._settled[state]
        return state, self.bonus * (kept + self._depth[state] - pending)

    def finish(self, state: int) -> float:
        """How the end of the text changes the reward."""
        after, change = self.step(state, " ")
        # No phrase holds two spaces, so whatever is pending breaks.
        return change + self.step(after, "  ")[1]

    def _insert(self, phrase: str) -> None:
        state = self.start
        for character in phrase:
            if character not in self._following[state]:
                self._following[state][character] = len(self._following)
                self._following.append({})
                self._depth.append(self._depth[state] + 1)
                self._settled.append(0)
            state = self._following[state][character]
        self._settled[state] = self._depth[state]

    def _find_fallbacks(self) -> list[int]:
        """For each state that of the longest other beginning of a phrase with which what was read ends."""
        fallback = [0] * len(self._following)
        queue = deque([self.start])
        while queue:
            state = queue.popleft()
            for character, child in self._following[state].items():
                other = fallback[state]
                while other and character not in self._following[other]:
                    other = fallback[other]
                fallback[child] = self._following[other].get(character, 0)
                self._settled[child] = max(self._settled[child], self._settled[state])
                queue.append(child)
        return fallback
