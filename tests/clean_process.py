"""Runs code in a fresh Python outside the repository, with Antiphon out of its reach if wished."""

import os
import re
import subprocess
import sys
from pathlib import Path

# The package is installed where the tests run, so an import hook takes it away; the last lines prove it.
WITHOUT_ANTIPHON = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "antiphon":
            raise ModuleNotFoundError("Antiphon is out of reach in this test", name=name)

sys.meta_path.insert(0, Blocker())
try:
    import antiphon
    sys.exit("Antiphon can be imported")
except ModuleNotFoundError:
    pass
"""


def code_of(card: str) -> str:
    """The program that a card prints under "How to use it"."""
    section = card.split("## How to use it")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def run_python(code: str, folder: Path, with_antiphon: bool = False, environment: dict[str, str] | None = None) -> str:
    """Runs `code` with `folder` as working directory and returns what it printed; the test fails if it fails.

    Args:
        environment: Of the process; by default this one's, offline and with empty caches.
    """
    if environment is None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"HF_HOME": str(folder / "hf_home"), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("HF_MODULES_CACHE", None)
    code = code if with_antiphon else WITHOUT_ANTIPHON + code
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout
