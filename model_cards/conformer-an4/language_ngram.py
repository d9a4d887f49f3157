"""N-gram probabilities in back-off form: estimated from sequences, or read from an ARPA file."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
# What ARPA files write for a token that is never predicted, such as the start.
NEVER = -99.0


class BackoffNgrams:
    """Probabilities of a token after the tokens before it.

    Where an n-gram was not seen, the probability after a shorter context is multiplied by the back-off weight of the
    longer one. Any interpolated model can be written so.

    Args:
        probabilities: By n-gram, a tuple of 1 to `order` tokens, the log10 probability of its last token.
        backoffs: By context, a tuple of 1 to `order - 1` tokens, its log10 back-off weight; 0 where absent.

    Raises:
        ValueError: if there are no n-grams of one token.
    """

    def __init__(self, probabilities: dict[tuple, float], backoffs: dict[tuple, float]):
        self.probabilities, self.backoffs = probabilities, backoffs
        self.order = max(map(len, probabilities), default=0)
        self.vocabulary = frozenset(ngram[0] for ngram in probabilities if len(ngram) == 1) - {START}
        self._contexts = {ngram[:-1] for ngram in probabilities} | set(backoffs)
        if not self.vocabulary:
            raise ValueError("`probabilities` holds no n-gram of one token; expected at least one beside the start.")

    @classmethod
    def witten_bell(cls, sequences: Iterable[Sequence[str]], order: int) -> "BackoffNgrams":
        """Estimates the model by interpolated Witten-Bell smoothing.

        A context h that was seen c(h) times, before T(h) different tokens, is trusted to c(h) / (c(h) + T(h)), leaving
        the rest to the context that is one token shorter. What the empty context leaves goes to `<unk>`, for which the
        sequences hold no evidence of any other kind. Chosen over modified Kneser-Ney since it needs no counts of
        counts, which little data and small alphabets do not have.

        Args:
            sequences: Tokens of one sentence each, without `<s>` and `</s>`.
            order: Longest n-gram, at least 1.

        Raises:
            ValueError: for an order below 1, or no sequences.

        Source: Witten and Bell 1991, "The Zero-Frequency Problem", method C; interpolated as in Chen and Goodman 1998,
            "An Empirical Study of Smoothing Techniques for Language Modeling", equation 16.
        """
        if order < 1:
            raise ValueError(f"`order` is {order}; expected 1 or more, such as 3 for words.")
        followers: dict[tuple, Counter] = defaultdict(Counter)
        for sequence in sequences:
            tokens = (START, *sequence, END)
            for last in range(1, len(tokens)):
                for first in range(max(0, last - order + 1), last + 1):
                    followers[tokens[first:last]][tokens[last]] += 1
        if not followers:
            raise ValueError("`sequences` is empty; expected at least one sentence to learn from.")
        values: dict[tuple, float] = {}
        left: dict[tuple, float] = {}
        for context in sorted(followers, key=len):
            counts = followers[context]
            total = counts.total() + len(counts)
            left[context] = len(counts) / total
            for token, count in counts.items():
                shorter = values[(*context[1:], token)] if context else 0.0
                values[(*context, token)] = count / total + left[context] * shorter
        values[(UNKNOWN,)] = values.get((UNKNOWN,), 0.0) + left.pop(())
        probabilities = {ngram: math.log10(value) for ngram, value in values.items()} | {(START,): NEVER}
        return cls(probabilities, {context: math.log10(weight) for context, weight in left.items()})

    def log_probability(self, context: tuple[str, ...], token: str) -> float:
        """Natural logarithm of the probability of a token; one that is not in the vocabulary counts as `<unk>`.

        Args:
            context: The tokens before, from `extend_context`.
            token: The next token, or `</s>`.
        """
        return math.log(10) * self._log10(context, token if token in self.vocabulary else UNKNOWN)

    def _log10(self, context: tuple[str, ...], token: str) -> float:
        backoff = 0.0
        while (value := self.probabilities.get((*context, token))) is None:
            if not context:
                return NEVER
            backoff += self.backoffs.get(context, 0.0)
            context = context[1:]
        return backoff + value

    def extend_context(self, context: tuple[str, ...], token: str) -> tuple[str, ...]:
        """The context after one more token, no longer than what the model knows anything about."""
        context = (*context, token if token in self.vocabulary else UNKNOWN)
        while len(context) >= self.order or (context and context not in self._contexts):
            context = context[1:]
        return context

    def to_arpa(self) -> str:
        """The text of an ARPA file; numbers are written so that they come back unchanged."""
        by_order = [[] for _ in range(self.order)]
        for ngram in sorted(self.probabilities):
            fields = [repr(self.probabilities[ngram]), " ".join(ngram)]
            if ngram in self.backoffs:
                fields.append(repr(self.backoffs[ngram]))
            by_order[len(ngram) - 1].append("\t".join(fields))
        lines = ["\\data\\", *(f"ngram {size}={len(ngrams)}" for size, ngrams in enumerate(by_order, start=1))]
        for size, ngrams in enumerate(by_order, start=1):
            lines += ["", f"\\{size}-grams:", *ngrams]
        return "\n".join([*lines, "", "\\end\\", ""])

    @classmethod
    def read_arpa(cls, path: str | os.PathLike) -> "BackoffNgrams":
        """Reads an ARPA file, of this project or of any other, such as KenLM's.

        Raises:
            ValueError: if the file is no ARPA file or does not hold as many n-grams as it says.
        """
        announced, found = {}, Counter()
        probabilities, backoffs = {}, {}
        size = 0
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if not fields or (not size and fields[0] == "\\data\\"):
                    continue
                if fields[0] == "\\end\\":
                    break
                try:
                    if fields[0].startswith("\\") and fields[0].endswith("-grams:"):
                        size = int(fields[0][1 : -len("-grams:")])
                    elif size:
                        ngram = tuple(fields[1 : 1 + size])
                        if len(ngram) < size:
                            raise ValueError("too few tokens")
                        probabilities[ngram] = float(fields[0])
                        if len(fields) > 1 + size:
                            backoffs[ngram] = float(fields[1 + size])
                        found[size] += 1
                    else:
                        order, count = fields[1].split("=")
                        announced[int(order)] = int(count)
                except (ValueError, IndexError):
                    raise ValueError(
                        f"{path} is no ARPA file: line {number} is {line.strip()[:60]!r}; "
                        "expected e.g. what KenLM's `lmplz --arpa` writes."
                    ) from None
        if not announced or announced != dict(found):
            raise ValueError(
                f"{path} announces {announced or 'no'} n-grams but holds {dict(found)}; it is cut short or no ARPA."
            )
        return cls(probabilities, backoffs)
