"""Leaves beside a run which rows it trained and validated on, and which it had to drop and why."""

import csv
import io
from collections.abc import Mapping

from antiphon.processing.corpora import manifest_text

from .recognition_data import RecognitionDataset
from .run_folder import RunFolder, write_text
from .sources import Mixture


def write_manifests(run: RunFolder, sides: Mapping[str, tuple[Mixture, RecognitionDataset]]) -> None:
    """Writes `manifests/train.csv`, `val.csv` and `dropped.csv` into a run, each at once or not at all.

    The first two can be loaded again as corpora.

    Args:
        run: The folder.
        sides: By the name of the file what the sources gave, and the dataset that was made of it.
    """
    folder = run.path / "manifests"
    folder.mkdir(exist_ok=True)
    table = io.StringIO()
    dropped = csv.writer(table, lineterminator="\n")
    dropped.writerow(["file_name", "source", "side", "reason"])
    for name, (mixture, dataset) in sides.items():
        origins = [mixture.origins[position] for position in dataset.kept]
        write_text(folder / f"{name}.csv", manifest_text(dataset.corpus, origins))
        file_names, sources = mixture.rows["file_name"][:], mixture.rows["source"][:]
        reasons = dataset.dropped.reasons
        dropped.writerows(
            [file_names[position], sources[position], name, reasons[why]] for position, why in dataset.dropped.positions
        )
    write_text(folder / "dropped.csv", table.getvalue())
