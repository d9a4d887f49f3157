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
        (frames,) the id of every frame, blanks included; merged as CTC asks, it gives `ids`.

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
    emitted = np.asarray(log_probabilities, dtype=np.float64)[:, states]
    # From one symbol to the next without a blank between them, unless they are equal.
    may_skip = np.zeros(len(states), dtype=bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    scores = np.full(len(states), -np.inf)
    scores[:2] = emitted[0, :2]
    steps = np.zeros(emitted.shape, dtype=np.int64)
    for frame in range(1, len(emitted)):
        by_one, by_two = np.full_like(scores, -np.inf), np.full_like(scores, -np.inf)
        by_one[1:] = scores[:-1]
        by_two[2:] = scores[:-2]
        by_two[~may_skip] = -np.inf
        choices = np.stack([scores, by_one, by_two])
        steps[frame] = choices.argmax(0)
        scores = choices.max(0) + emitted[frame]
    state = len(states) - 1
    if len(states) > 1 and scores[-2] > scores[-1]:
        state -= 1
    path = [state]
    for frame in range(len(emitted) - 1, 0, -1):
        state -= steps[frame, state]
        path.append(state)
    return states[path[::-1]].tolist()
