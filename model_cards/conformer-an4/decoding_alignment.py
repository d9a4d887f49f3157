"""Where in the sound a known text was recognised: the best CTC alignment."""

import itertools

import numpy as np


def align_symbols(log_probabilities: np.ndarray, ids: list[int], blank: int) -> list[int]:
    """Finds the likeliest alignment of a text.

    Args:
        log_probabilities: (frames, vocab_size), natural logarithms.
        ids: Symbols of the text, without blanks.
        blank: Id of the blank.

    Returns:
        (frames,) the position in `ids` that every frame spells, -1 for the blank.

    Raises:
        ValueError: if there are fewer frames than the text needs.

    Source: Graves et al. 2006, "Connectionist Temporal Classification", section 4.1, with the maximum for the sum.
    """
    states = np.full(2 * len(ids) + 1, blank)
    states[1::2] = ids
    num_needed = len(ids) + sum(first == second for first, second in itertools.pairwise(ids))
    if len(log_probabilities) < max(1, num_needed):
        raise ValueError(
            f"`log_probabilities` has {len(log_probabilities)} frames but the text needs {max(1, num_needed)}; "
            "align a text that was recognised in them."
        )
    heard = np.asarray(log_probabilities)
    # From one symbol to the next without a blank between them, unless they are equal.
    may_skip = np.zeros(len(states), dtype=bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    scores = np.full(len(states), -np.inf)
    scores[:2] = heard[0, states[:2]]
    # One byte each: a long recording has millions of them.
    steps = np.zeros((len(heard), len(states)), dtype=np.uint8)
    for frame in range(1, len(heard)):
        by_one, by_two = np.full_like(scores, -np.inf), np.full_like(scores, -np.inf)
        by_one[1:] = scores[:-1]
        by_two[2:] = scores[:-2]
        by_two[~may_skip] = -np.inf
        choices = np.stack([scores, by_one, by_two])
        steps[frame] = choices.argmax(0)
        scores = choices.max(0) + heard[frame, states]
    state = len(states) - 1
    if len(states) > 1 and scores[-2] > scores[-1]:
        state -= 1
    path = [state]
    for frame in range(len(heard) - 1, 0, -1):
        state -= int(steps[frame, state])
        path.append(state)
    # States alternate: blank, first symbol, blank, second symbol, ..., blank.
    return [state // 2 if state % 2 else -1 for state in path[::-1]]
