"""Publishes a run: writes its Hub repository to a folder, or pushes it to the Hugging Face Hub.

    python train_scripts/publish.py runs/fsdd --to model_cards/fsdd
    python train_scripts/publish.py runs/fsdd --to OWNER/NAME --private

The token for the Hub comes from `hf auth login` or `HF_TOKEN`. What is published is complete or absent: a folder is
put together elsewhere and swapped in, a push is one commit, read back before it is called published.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, get_token

from antiphon.eval.conditions import file_sha256
from antiphon.eval.eval_results import render_eval_results
from antiphon.eval.hub_errors import CLIENT_ERRORS, HubError, hub_errors, hub_sentence, is_repository_id
from antiphon.train_scripts.model_card import render_card, summarize_log
from antiphon.train_scripts.trained_run import PublishError, TrainedRun, load_run, read_json

# Lists every published file with its checksum. Only what carries one may be replaced.
MANIFEST = "publication.json"
GIT_ATTRIBUTES = ".gitattributes"  # written by the Hub itself


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder that training and evaluation wrote")
    parser.add_argument("--to", required=True, help="OWNER/NAME on the Hub, or a folder such as ./NAME")
    parser.add_argument("--private", action="store_true", help="make the Hub repository private")
    parser.add_argument("--license", default="apache-2.0", help="licence of the weights (default: %(default)s)")
    options = parser.parse_args(arguments)
    to_hub = is_repository_id(options.to)
    try:
        if to_hub:
            place = publish_to_hub(options.run, options.to, private=options.private, license=options.license)
        elif options.private:
            raise PublishError(f"--private is for the Hub, but {options.to} is a folder; leave it out")
        else:
            place = publish_to_folder(options.run, Path(options.to), license=options.license)
    except (PublishError, OSError) as error:
        if to_hub:
            print(file=sys.stderr)  # a progress bar that broke off has left no end of line
        print(f"publish: error: {error}", file=sys.stderr)
        return 1
    print(f"published {options.run} to {place}")
    return 0


def publish_to_folder(run_folder: Path, target: Path, license: str = "apache-2.0") -> Path:
    """Write the Hub repository of a run to a folder, replacing an earlier publication there.

    Raises:
        PublishError: if the run may not be published, or `target` holds anything that publishing did not write.
    """
    run = load_run(run_folder)
    if run.checkpoint.resolve() in target.resolve().parents:
        raise PublishError(f"{target} lies inside the checkpoint; choose another folder")
    _check_replaceable_folder(target)
    relative = os.path.relpath(target)
    model_id = target.name if relative.startswith("..") else Path(relative).as_posix()
    title = target.resolve().name if target.name != "hub" else target.resolve().parent.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as workspace:
        staged, replaced = Path(workspace) / "staged", Path(workspace) / "replaced"
        stage(run, staged, render_card(run, title, model_id, license))
        if target.exists():
            target.rename(replaced)
        try:
            staged.rename(target)
        except BaseException:  # an interrupt, too, must not cost the old publication
            if replaced.exists():
                replaced.rename(target)
            raise
    return target


def publish_to_hub(run_folder: Path, repo_id: str, private: bool = False, license: str = "apache-2.0") -> str:
    """Push a run to the Hub in one commit and read it back. Publishing the same run again changes nothing.

    Args:
        repo_id: "OWNER/NAME"; created if it does not exist.
        private: Whether the repository is for its owner only.

    Returns:
        The address of the repository.

    Raises:
        PublishError: if the run may not be published, there is no token, or the repository holds anything that
            publishing did not write.
        HubError: if the Hub failed; the message says what a visitor sees.
    """
    run = load_run(run_folder)
    if get_token() is None:
        raise PublishError(
            f"no access token for the Hub; run `hf auth login` or set HF_TOKEN (or write ./{repo_id} for a folder)"
        )
    api = HfApi()
    url = f"{api.endpoint}/{repo_id}"
    with tempfile.TemporaryDirectory() as workspace:
        staged = Path(workspace) / "staged"
        stage(run, staged, render_card(run, repo_id.split("/")[1], repo_id, license, url), url)
        with hub_errors(f"nothing was published, {repo_id} is unchanged"):
            api.create_repo(repo_id, private=private or None, exist_ok=True)
            before = api.model_info(repo_id)
            if private and not before.private:
                raise PublishError(f"{repo_id} exists and is public; make it private first, or leave out --private")
            outdated = _outdated_files(api, before, staged)
        commit_id = _commit(api, repo_id, staged, outdated, parent=before.sha)
        with hub_errors(f"{repo_id} was pushed but could not be read back"):
            verification = api.verify_repo_checksums(repo_id, local_dir=staged, revision=commit_id)
    wrong = [entry["path"] for entry in verification.mismatches] + verification.extra_paths
    wrong += [path for path in verification.missing_paths if path != GIT_ATTRIBUTES]
    if wrong:
        raise PublishError(f"{repo_id} does not hold what was sent ({', '.join(wrong)}); run the same command again")
    return url


def stage(run: TrainedRun, folder: Path, card: str, repository_url: str | None = None) -> None:
    """Write every file of a run's Hub repository into a new folder, the manifest last."""
    sources = {name: run.checkpoint / name for name in run.checkpoint_files()}
    sources |= {name: run.folder / name for name in run.report_files()}
    for name, source in sources.items():
        destination = folder / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)
    texts = {
        "README.md": card,
        "training/recipe.yaml": run.recipe,
        "training/environment.json": _json(run.environment),
        "training/training_data.json": _json(run.training_data),
        "training/log_summary.json": _json(summarize_log(run.log_history)),
    }
    for name, row in run.results.items():
        row_url = f"{repository_url}/blob/main/results/{name}.json" if repository_url else None
        texts[f"results/{name}.json"] = _json(row)
        texts[f".eval_results/{name}.yaml"] = render_eval_results(row, row_url)
    for name, row in run.related_results.items():
        texts[f"related_results/{name}.json"] = _json(row)
    for name, text in texts.items():
        destination = folder / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_text(text, encoding="utf-8")
    checksums = {path.as_posix(): file_sha256(folder / path) for path in _files(folder)}
    (folder / MANIFEST).write_text(_json({"published_by": "antiphon.train_scripts.publish", "files": checksums}))


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _json(content) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _check_replaceable_folder(target: Path) -> None:
    """Replacing must never destroy what a person made: neither files beside a publication nor edits to it."""
    if not target.exists():
        return
    if not target.is_dir():
        raise PublishError(f"{target} is a file; choose a folder")
    present = {path.as_posix() for path in _files(target)}
    if not present:
        return
    if MANIFEST not in present:
        raise PublishError(f"{target} exists and was not written by publish; choose another folder or remove it")
    checksums = read_json(target / MANIFEST)["files"]
    foreign = present - set(checksums) - {MANIFEST}
    if foreign:
        raise PublishError(f"{target} holds {', '.join(sorted(foreign))}, which publish did not write; move it away")
    edited = [path for path in sorted(present & set(checksums)) if file_sha256(target / path) != checksums[path]]
    if edited:
        raise PublishError(
            f"{', '.join(edited)} in {target} was edited after publishing; put prose into notes.md of the run, then "
            f"remove {target}"
        )


def _outdated_files(api: HfApi, repository: ModelInfo, staged: Path) -> list[str]:
    """Remote files of an earlier publication that the new one does not have.

    Raises:
        PublishError: if the repository holds anything else.
    """
    present = {file.rfilename for file in repository.siblings} - {GIT_ATTRIBUTES}
    if not present:
        return []
    known = set()
    if MANIFEST in present:
        remote = staged.parent / "remote"
        manifest = api.hf_hub_download(repository.id, MANIFEST, revision=repository.sha, local_dir=remote)
        known = {MANIFEST, *read_json(Path(manifest))["files"]}
    if foreign := present - known:
        raise PublishError(
            f"{repository.id} holds {', '.join(sorted(foreign))}, which publish did not write; choose another name or "
            "remove them"
        )
    return sorted(present - {path.as_posix() for path in _files(staged)})


def _commit(api: HfApi, repo_id: str, staged: Path, outdated: Iterable[str], parent: str) -> str:
    """Push a folder as one commit and return the commit to read back.

    `create_commit` and not `upload_folder`, which may split a push into several commits.
    """
    operations = [CommitOperationDelete(path) for path in outdated]
    operations += [CommitOperationAdd(path.as_posix(), staged / path) for path in _files(staged)]
    try:
        return api.create_commit(repo_id, operations, commit_message="Publish checkpoint", parent_commit=parent).oid
    except CLIENT_ERRORS as error:
        with hub_errors(f"it is unknown whether {repo_id} was published"):
            head = api.model_info(repo_id).sha
        if head == parent:
            raise HubError(hub_sentence(error, f"nothing was published, {repo_id} is unchanged")) from error
        return head  # only the answer was lost; reading back tells what is there


if __name__ == "__main__":
    raise SystemExit(main())
