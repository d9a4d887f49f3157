"""Submit results to a leaderboard, after computing metrics, intervals, baselines' scores and groups anew.

    python eval/submit.py runs/fsdd --to OWNER/DATASET                    all rows of a run
    python eval/submit.py results/an4_small.json --to OWNER/DATASET --pull-request
    python eval/submit.py runs/fsdd --to ./leaderboard --check            check only, write nothing

Of each row the leaderboard gets `rows/<benchmark>/<name>.json` with its items and the system's card beside it, and
`.eval_results/<benchmark>/<name>.yaml`. The row then carries a paired comparison with each row that it is ranked with.
The Hub reads such a file in the repository of a model; `--model OWNER/MODEL`
opens a pull request there. The token comes from `hf auth login` or `HF_TOKEN`.
"""

import sys
from pathlib import Path

if not __package__ and not sys.flags.safe_path:
    # Run as a script, this folder's `statistics` would hide the standard library's.
    del sys.path[0]

import argparse
import json
from collections.abc import Sequence

from antiphon.eval.benchmark_definition import EVAL_YAML, read_definition
from antiphon.eval.comparison import System
from antiphon.eval.eval_results import render_eval_results
from antiphon.eval.hub_errors import HubError, is_repository_id
from antiphon.eval.leaderboard_comparisons import check_comparisons, compare_with_rivals, read_rivals
from antiphon.eval.leaderboard_places import HubPlace, PendingPlace, open_place
from antiphon.eval.result_rows import find_rows, items_path
from antiphon.eval.submission import NAME, SubmissionError, check_submission, read_submission

MAX_CARD_BYTES = 50_000  # the Space shows no larger one


def submit(
    source: Path,
    to: str,
    *,
    name: str | None = None,
    model_id: str | None = None,
    pull_request: bool = False,
    check_only: bool = False,
) -> list[str]:
    """Check the rows of a source and write them to a leaderboard, all of them or none.

    Args:
        source: row file, or a folder whose rows are all meant.
        to: "OWNER/DATASET" on the Hub, or a folder.
        name: of the submission; by default the row's `system`, else the name of the run folder.
        model_id: "OWNER/MODEL", the model's repository on the Hub; gets the results as a pull request.
        pull_request: propose the rows instead of pushing them.
        check_only: write nothing.

    Returns:
        The places that were written.

    Raises:
        SubmissionError: a row that is refused.
        HubError: the Hub failed; the message says what a visitor sees.
    """
    paths = [source] if source.is_file() else find_rows([source])
    if not paths:
        raise SubmissionError(str(source), ["it holds no result row; name a row, a run folder or a results folder"])
    if model_id and not is_repository_id(model_id):
        raise SubmissionError(str(source), [f"`--model` is {model_id!r}, but OWNER/MODEL on the Hub is expected"])
    place, files, eval_results, titles = open_place(to), {}, {}, []
    for path in paths:
        row, own_files, yaml_text = prepare(path, name, model_id, PendingPlace(place, files))
        files |= own_files
        eval_results[f".eval_results/{row['benchmark']}.yaml"] = yaml_text
        titles.append(f"{row['benchmark']}/{name or name_of(row, path)}")
    if check_only:
        return []
    message = f"Submit {', '.join(titles)}"
    places = [place.write(files, message, pull_request)]
    if model_id:
        try:
            places.append(HubPlace(model_id, kind="model").write(eval_results, message, pull_request=True))
        except HubError as error:
            raise HubError(f"the rows are in {places[0]}, but {model_id} got no pull request: {error}") from error
    return places


def prepare(
    path: Path, name: str | None, model_id: str | None, place: PendingPlace
) -> tuple[dict, dict[str, bytes], bytes]:
    """Check one row and return it, the files that the leaderboard gets, and the text for the model's repository.

    The row is the last of the files: whoever sees it has all of it.
    """
    row, items = read_submission(path)
    definitions = place.read(EVAL_YAML)
    name, benchmark = name or name_of(row, path), row["benchmark"]
    if not NAME.fullmatch(name):
        raise SubmissionError(str(path), [f"its name is {name!r}; pass letters, digits, dots and dashes with --name"])
    definition = read_definition(definitions.decode(), benchmark) if definitions else None
    if definition is None:
        raise SubmissionError(
            str(path),
            [f"the leaderboard does not define {benchmark!r}; its owner does that with eval/define_benchmark.py"],
        )
    check_submission(str(path), row, items, definition)
    stem = f"rows/{benchmark}/{name}"
    _check_free(str(path), row, place.read(f"{stem}.json"), name)
    system = System(name, row, items)
    comparisons = compare_with_rivals(system, read_rivals(place, system))
    check_comparisons(str(path), row.get("comparisons", []), comparisons)
    row["comparisons"] = comparisons
    if model_id:
        row["model"] = {**row.get("model", {}), "id": model_id}
    results = render_eval_results(row, place.address(f"{stem}.json"), place.dataset_id).encode()
    card = read_card(path)
    files = {
        f"{stem}_items.parquet": items_path(path.parent, path.stem).read_bytes(),
        **({f"{stem}.md": card} if card else {}),
        f".eval_results/{benchmark}/{name}.yaml": results,
        f"{stem}.json": (json.dumps(row, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    return row, files, results


def name_of(row: dict, path: Path) -> str:
    """Return what tables call a row: its system, else the folder of its run or checkpoint."""
    folder = path.resolve().parent
    return row.get("system") or (folder.parent.name if folder.name == "results" else folder.name)


def read_card(path: Path) -> bytes | None:
    """Return the card of the run or checkpoint that a row belongs to; None where there is none or a huge one."""
    folder = path.resolve().parent
    card = (folder.parent if folder.name == "results" else folder) / "README.md"
    return card.read_bytes() if card.is_file() and card.stat().st_size <= MAX_CARD_BYTES else None


def _check_free(source: str, row: dict, present: bytes | None, name: str) -> None:
    """A name stands for one checkpoint: nobody's row is replaced by that of another."""
    if present is not None and json.loads(present).get("checkpoint_sha256") != row["checkpoint_sha256"]:
        raise SubmissionError(source, [f"{name!r} is there already, with another checkpoint; pass another --name"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Submit what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="result row, run folder or results folder")
    parser.add_argument("--to", required=True, help="OWNER/DATASET on the Hub, or a folder such as ./NAME")
    parser.add_argument("--name", help="of the submission (default: the row's system, or the run's name)")
    parser.add_argument("--model", help="OWNER/MODEL on the Hub, which gets its results as a pull request")
    parser.add_argument("--pull-request", action="store_true", help="propose the rows instead of pushing them")
    parser.add_argument("--check", action="store_true", help="check only, write nothing")
    options = parser.parse_args(arguments)
    try:
        places = submit(
            options.source, options.to, name=options.name, model_id=options.model,
            pull_request=options.pull_request, check_only=options.check,
        )  # fmt: skip
    except (SubmissionError, HubError, OSError, ValueError) as error:
        print(f"submit: error: {error}", file=sys.stderr)
        return 1
    print(f"{options.source} is good" if options.check else f"submitted {options.source} to {' and '.join(places)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
