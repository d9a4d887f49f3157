"""Puts together what the page shows of one performance or of two."""

import html
from collections.abc import Iterable, Sequence

from assessor import Assessment, Assessor
from lattice_figure import caption, draw_lattice
from percept_chart import draw_percepts
from uploads import Upload

from antiphon.eval.piano_explanations import compare_descriptors, compare_percepts, explain
from antiphon.eval.reference_population import is_same_passage

TITLES = ("First performance", "Second performance")
UNKNOWN_PASSAGE = (
    "The passage is not among those that the model learned from, or cannot be told from a recording alone; so this "
    "compares with other music too."
)
NOTHING_EXTREME = "Nothing that was measured stands out."
NO_POPULATION = "This checkpoint ships no performances to compare with."
ONE_PASSAGE = {
    True: "Both play the same notes.",
    False: "These are not the same notes: what differs may be the music, not the playing.",
    None: "Whether both play the same notes cannot be told without their MIDI files.",
}
BY_CHANCE = "So many are compared that one or two of the intervals, which hold in 90 % of cases, may mislead by chance."
NOTHING_APART = "The intervals tell the two apart in none of the percepts."


def draw_report(assessor: Assessor, uploads: Sequence[Upload], assessments: Sequence[Assessment]) -> str:
    """HTML of pictures, sentences, chart and, of two performances, their comparison."""
    titles = TITLES if len(assessments) > 1 else ("The performance",)
    sampling_rate = assessor.extractor.sampling_rate
    views = [item.view for item in assessments]
    pictures = [draw_lattice(view, title, sampling_rate) for view, title in zip(views, titles)]
    parts = {
        "pictures": "".join([*pictures, caption(views)]),
        "chart": f"<h3>Nineteen percepts</h3>{draw_percepts(assessor.percepts, assessments)}",
        "comparison": _comparison(uploads, assessments) if len(assessments) > 1 else "",
        "words": "".join(_explanations(item, title) for item, title in zip(assessments, titles)),
    }
    sections = [f'<section class="{name}">{content}</section>' for name, content in parts.items()]
    return f'<div class="report">{"".join(sections)}</div>'


def _explanations(assessment: Assessment, title: str) -> str:
    heading = f"<h3>{html.escape(title)}: what was measured</h3>"
    if assessment.reference is None:
        return f"{heading}<p>{NO_POPULATION}</p>"
    passage = assessment.reference.passage
    note = UNKNOWN_PASSAGE if passage is None else f"Recognised by its notes: {passage}."
    explanations = explain(assessment.descriptors, assessment.reference)
    sentences = _list(
        (
            item.text,
            f"{item.descriptor} = {item.value:.4g}, percentile {item.percentile:.0f}, n = {item.num_performances}",
        )
        for item in explanations
    )
    return f"{heading}<p>{html.escape(note)}</p>{sentences or f'<p>{NOTHING_EXTREME}</p>'}"


def _comparison(uploads: Sequence[Upload], assessments: Sequence[Assessment]) -> str:
    first, second = assessments
    notes = [upload.performance for upload in uploads]
    same = is_same_passage(*notes) if all(item is not None for item in notes) else None
    measured = _list(
        (item.text, f"{item.descriptor}: {item.first:.4g} and {item.second:.4g}")
        for item in compare_descriptors(first.descriptors, second.descriptors)
    )
    judged = compare_percepts(first.percepts, second.percepts, first.reach, second.reach)
    told = [item for item in judged if item.is_told_apart]
    rest = [item for item in judged if not item.is_told_apart]
    percepts = _list((item.text, _name(item.percept)) for item in told) or f"<p>{NOTHING_APART}</p>"
    others = _list((item.text, _name(item.percept)) for item in rest)
    return (
        f"<h3>The first against the second</h3><p>{ONE_PASSAGE[same]}</p>{measured}"
        f"<h4>Judgements</h4><p>{BY_CHANCE}</p>{percepts}"
        f"<details><summary>The other {len(rest)} percepts</summary>{others}</details>"
    )


def _name(percept: str) -> str:
    return percept.replace("_", " ")


def _list(sentences: Iterable[tuple[str, str]]) -> str:
    """Items, each with its evidence in small print; nothing where there are none."""
    items = [
        f'<li>{html.escape(text)} <small class="evidence">{html.escape(evidence)}</small></li>'
        for text, evidence in sentences
    ]
    return f'<ul class="sentences">{"".join(items)}</ul>' if items else ""
