"""A copy of the project, in which commands find its own code before the installed one."""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("dags", "docs", "include", "operators", "tests", "pyproject.toml", "README.md")


def copied(to: Path) -> dict[str, str]:
    """Copy the project to the folder ``to``, and return the environment in which commands there are run."""
    to.mkdir()
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, to / name)
    (to / ".venv").symlink_to(sys.prefix)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MARKETDAY_", "PYTEST_", "COV_"))}
    return {
        **ours,
        "PATH": f"{to / '.venv' / 'bin'}{os.pathsep}{ours['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(to), str(to / "include")]),
        "MARKETDAY_HOME": str(to / "var"),
        "COLUMNS": "160",
    }
