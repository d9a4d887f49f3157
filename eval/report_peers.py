"""Numbers that others published, with the conditions that they hold under.

The YAML file is a list; each entry has `name`, `corpus`, `metric`, `value`, `unit`, `conditions` and `source`.
"""

from pathlib import Path

import yaml

from antiphon.eval.report_blocks import Paragraph, Table
from antiphon.eval.report_source import ReportError
from antiphon.eval.result_formats import format_number

PEERS = Path(__file__).parent / "peers"
KEYS = ("name", "corpus", "metric", "value", "unit", "conditions", "source")


def read_peers(name: str) -> list[dict]:
    """Read and check a file of peers.

    Args:
        name: a YAML file, or the name of one that comes with the package, such as "recognition".

    Raises:
        ReportError: it is missing or malformed, or an entry lacks something or has something else.
    """
    packaged = PEERS / f"{name}.yaml"
    path = packaged if packaged.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PEERS.glob("*.yaml")))
        raise ReportError(f"`--peers` {name!r} is no file; pass a YAML list of related numbers, or one of {known}.")
    try:
        peers = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ReportError(f"{path} is not YAML: {error}") from error
    if not isinstance(peers, list) or not all(isinstance(peer, dict) for peer in peers):
        raise ReportError(f"{path} must be a list of entries with {', '.join(KEYS)}.")
    for number, peer in enumerate(peers, start=1):
        if set(peer) != set(KEYS):
            raise ReportError(
                f"{path}, entry {number} ({peer.get('name')!r}): lacks {sorted(set(KEYS) - set(peer))}, does not know "
                f"{sorted(set(peer) - set(KEYS))}; expected {', '.join(KEYS)}."
            )
        if not isinstance(peer["value"], int | float):
            raise ReportError(f"{path}, entry {number} ({peer['name']!r}): `value` {peer['value']!r} is no number.")
    return peers


def peers_blocks(peers: list[dict]) -> list:
    """Show related numbers in the order of their file: other conditions allow no ranking."""
    if not peers:
        return [Paragraph("No related numbers were given.")]
    table = Table(
        caption="Related numbers, as published",
        headings=["system", "corpus", "metric", "value", "conditions", "source"],
        rows=[
            [
                str(peer["name"]),
                str(peer["corpus"]),
                str(peer["metric"]),
                format_number(peer["value"], peer["unit"]),
                str(peer["conditions"]),
                str(peer["source"]),
            ]
            for peer in peers
        ],
    )
    warning = (
        "Others measured these under their own conditions, which the table states. They say what is usual; they are "
        "not ranked against the results below, which hold under conditions of their own."
    )
    return [Paragraph(warning), table]
