"""The nineteen percepts by which listeners judged piano performances, in the order of the labels.

Source: Park et al. 2024, "Piano performance evaluation dataset with multilevel perceptual features".
"""

# percept: (what a low value means, what a high value means)
PERCEPT_POLES = {
    "timing_stable_unstable": ("stable", "unstable"),
    "articulation_long_short": ("long", "short"),
    "articulation_soft_hard": ("soft, cushioned", "hard, solid"),
    "pedal_sparse_saturated": ("sparse, dry", "saturated, wet"),
    "pedal_clean_blurred": ("clean", "blurred"),
    "timbre_even_colorful": ("even", "colorful"),
    "timbre_shallow_rich": ("shallow", "rich"),
    "timbre_bright_dark": ("bright", "dark"),
    "timbre_soft_loud": ("soft", "loud"),
    "dynamic_sophisticated_raw": ("sophisticated, mellow", "raw, crude"),
    "dynamic_little_large_range": ("little range", "large range"),
    "music_making_fast_slow": ("fast paced", "slow paced"),
    "music_making_flat_spacious": ("flat", "spacious"),
    "music_making_disproportioned_balanced": ("disproportioned", "balanced"),
    "music_making_pure_dramatic": ("pure", "dramatic, expressive"),
    "emotion_optimistic_dark": ("optimistic, pleasant", "dark"),
    "emotion_low_high_energy": ("low energy", "high energy"),
    "emotion_honest_imaginative": ("honest", "imaginative"),
    "interpretation_doubtful_convincing": ("unsatisfactory, doubtful", "convincing"),
}
PERCEPTS = tuple(PERCEPT_POLES)
