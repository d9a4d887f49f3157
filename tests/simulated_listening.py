"""Results of listening tests whose listeners are simulated, as `antiphon.eval.listening_results` reads them."""

import numpy as np
import pandas as pd

from antiphon.eval.listening_results import CHECK, COLUMNS, TRIAL, ListeningResults
from antiphon.eval.listening_simulation import Plan, Population, simulate

PLAN = Plan(num_listeners=12, num_items=10, answers_each=5)


def rated_results(
    population: Population, plan: Plan = PLAN, *, num_inattentive: int = 0, seed: int = 0
) -> ListeningResults:
    """Results of a MOS test with two attention checks; the first listeners answer at random, and fail both."""
    generator = np.random.default_rng(seed)
    table = simulate(population, plan, generator)
    listeners = sorted(set(table["listener"]))
    lazy = listeners[:num_inattentive]
    at_random = table["listener"].isin(lazy)
    table.loc[at_random, "score"] = generator.integers(1, 6, at_random.sum())
    trials = pd.DataFrame(
        {
            "listener_id": table["listener"],
            "position": table.groupby("listener").cumcount(),
            "kind": TRIAL,
            "item": table["item"],
            "system_a": table["condition"],
            "answer": table["score"].astype(int).astype(str),
        }
    )
    checks = [
        (listener, 100 + number, CHECK, "4" if listener in lazy else "1", "1 2")
        for listener in listeners
        for number in range(2)
    ]
    checks = pd.DataFrame(checks, columns=["listener_id", "position", "kind", "answer", "expected"])
    ratings = pd.concat([trials, checks], ignore_index=True).reindex(columns=list(COLUMNS)).astype(object)
    ratings = ratings.where(ratings.notna(), None).astype({"position": int})
    num_pages = round(plan.answers_each) * len(population.qualities)
    return ListeningResults(definition("mos", table, num_pages), ratings, plan.num_listeners + 1)


def definition(kind: str, table: pd.DataFrame, num_pages: int) -> dict:
    """What the Space keeps of a test."""
    answers = {"A": "A", "B": "B"} if kind in ("ab", "abx") else {str(value): f"{value}" for value in range(5, 0, -1)}
    return {
        "kind": kind,
        "title": "A <test>",
        "question": "How good?",
        "answers": answers,
        "systems": sorted(set(table["condition"])),
        "items": sorted(set(table["item"])),
        "pages_per_listener": num_pages,
        "num_attention_checks": 2,
        "max_failed_checks": 1,
        "seed": 0,
        "sha256": "0" * 64,
    }
