"""Runs a program in a fresh Python process that has no Antiphon, as on the machine of somebody who loads a checkpoint.

The package is installed in the environment that runs the tests, so an import hook takes it away.
"""

import os
import subprocess
import sys
from pathlib import Path

# Neither import system nor working directory may find the package; the last lines prove it.
WITHOUT_ANTIPHON = """\
import sys


class NoAntiphon:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "antiphon":
            raise ModuleNotFoundError("antiphon is not installed here", name=name)


sys.meta_path.insert(0, NoAntiphon)
try:
    import antiphon
    sys.exit("antiphon can be imported")
except ModuleNotFoundError:
    pass
"""
SECONDS = 120


def run_python(
    code: str, cwd: Path, environment: dict[str, str] | None = None, with_antiphon: bool = False
) -> subprocess.CompletedProcess:
    """Run a program and return what it printed; it fails the test if the program fails.

    Args:
        code: The program, run as a file of its own, so that its tracebacks show lines.
        cwd: Where it runs; a folder outside the repository.
        environment: Its environment; by default this process' with an empty Hugging Face home and no network.
        with_antiphon: Leave the installed package importable.
    """
    script = cwd / "program.py"
    script.write_text(code if with_antiphon else WITHOUT_ANTIPHON + code, encoding="utf-8")
    if environment is None:
        environment = {**os.environ, "HF_HOME": str(cwd / "hf_home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"the program failed:\n{done.stdout}\n{done.stderr}"
    return done
