"""What support staff read beside a task or a DAG in Airflow: one Markdown file each, in this folder.

A task's file says what it does, what usually goes wrong and what to do; `clearing.md` follows every one of them.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent


def of_task(task_id: str) -> str:
    """Return the runbook of a task."""
    return _read(task_id) + "\n" + _read("clearing")


def of_dag(kind: str, **facts: object) -> str:
    """Return the runbook of a DAG, with the retailer's own ``facts`` in it."""
    return _read(kind).format(**facts)


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.md").read_text(encoding="utf-8")
