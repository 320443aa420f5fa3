"""What `marketday new` writes: a step, model, feature or operator as a small example that works, with its test.

The examples are the files beside this one. ``$name`` stands in them for the name, ``$Name`` for the name of a class and
``$description`` for the sentence that says what it is.
"""

import builtins
import keyword
import re
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import NamedTuple

from marketday.errors import MarketdayError

MOST_LETTERS = 40
"""Of a name: longer ones would not fit the lines of the examples."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_DESCRIPTION = re.compile(r'[^"\\\n]{1,100}')


class Kind(StrEnum):
    """What can be added."""

    step = "step"
    model = "model"
    feature = "feature"
    operator = "operator"


class Example(NamedTuple):
    """What there is for one kind."""

    description: str
    files: dict[str, str]
    """Files beside this one, and where in the project they are written to."""
    commands: tuple[str, ...]
    """What to type next."""
    remark: str
    """How it comes to be used."""


EXAMPLES: dict[Kind, Example] = {
    Kind.step: Example(
        "Count the products of every location that were sold out for a while, day by day.",
        {"step.py": "include/marketday/steps/$name.py", "test_step.py": "tests/marketday/test_step_$name.py"},
        (
            "pytest tests/marketday/test_step_$name.py tests/conformance/test_steps.py -k $name",
            "marketday new operator $name",
        ),
        "It runs wherever steps run: in this process, as a job, as a pod. Its operator makes an Airflow task of it.",
    ),
    Kind.model: Example(
        "Each series' smoothed level times the weekly profile of all series.",
        {"model.py": "include/marketday/models/$name.py", "test_model.py": "tests/marketday/test_model_$name.py"},
        (
            "pytest tests/marketday/test_model_$name.py tests/conformance/test_models.py -k $name",
            "marketday backtest simulated --origins 2025-03-02 --set training.model=$name --out var/$name",
        ),
        "A retailer has it with `training: {model: $name}` in its definition, from its next training run on.",
    ),
    Kind.feature: Example(
        "Mean demand of the last week over that of the last four weeks.",
        {
            "feature.py": "include/marketday/features/$name.py",
            "test_feature.py": "tests/marketday/test_feature_$name.py",
        },
        (
            "pytest tests/marketday/test_feature_$name.py tests/conformance/test_features.py -k $name",
            "marketday features $name",
        ),
        "A model learns from it once its `features` have the name.",
    ),
    Kind.operator: Example(
        "Count the products that were sold out.",
        {
            "operator.py": "operators/$name.py",
            "runbook.md": "operators/runbooks/$name.md",
            "test_operator.py": "tests/operators/test_operator_$name.py",
        },
        ("pytest tests/operators/test_operator_$name.py tests/conformance/test_operators.py -k $name",),
        "It is a task of every DAG that names it; docs/add-a-step.md shows how.",
    ),
}


def write(kind: Kind, name: str, project: Path, description: str = "") -> list[Path]:
    """Write the files of something new into the project's folder and return their paths in it: all of them or none.

    Raises:
        MarketdayError: the name or description cannot be used, the folder is no project, a file is there already, or
            an operator's step is not.

    """
    _check_name(kind, name)
    example = EXAMPLES[kind]
    words = {
        "name": name,
        "Name": "".join(part.capitalize() for part in name.split("_")),
        "description": _sentence(description or example.description),
    }
    files = {Path(Template(path).substitute(words)): file for file, path in example.files.items()}
    _check_project(kind, name, project, files)
    for path, file in files.items():
        text = (Path(__file__).parent / f"{file}.txt").read_text(encoding="utf-8")
        (project / path).write_text(Template(text).substitute(words), encoding="utf-8")
    return list(files)


def _check_name(kind: Kind, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MOST_LETTERS:
        raise MarketdayError(
            f"{name!r} cannot be the name of a {kind}",
            hint=f"Small letters and digits in words joined by _, at most {MOST_LETTERS} in all: sold_out.",
        )
    # The examples import dt, pl and pa.
    if name in {"dt", "pl", "pa", *Kind} or keyword.iskeyword(name) or hasattr(builtins, name):
        raise MarketdayError(f"{name!r} means something else where it would stand", hint="Choose another name.")
    if kind is Kind.step:
        from marketday import tables  # noqa: PLC0415  loads pyarrow, which no other kind needs

        if name in tables.ALL:
            raise MarketdayError(
                f"There is a table {name!r}, and the example writes one of its own name", hint="Choose another name."
            )


def _sentence(description: str) -> str:
    text = description.strip().removesuffix(".")
    if not _DESCRIPTION.fullmatch(text):
        raise MarketdayError(
            f"{description!r} cannot be a description",
            hint='One sentence of at most 100 letters, without " and \\: Count the products that were sold out.',
        )
    return f"{text[0].upper()}{text[1:]}."


def _check_project(kind: Kind, name: str, project: Path, files: dict[Path, str]) -> None:
    for path in files:
        if not (project / path.parent).is_dir():
            raise MarketdayError(
                f"{project.resolve()} is no checkout of Marketday: it has no folder {path.parent}",
                hint="Go to the project's folder, or name it with --folder.",
            )
        if (project / path).exists():
            raise MarketdayError(f"{path} is there already", hint="Choose another name, or take the file away first.")
    if kind is Kind.operator and not (project / f"include/marketday/steps/{name}.py").exists():
        raise MarketdayError(
            f"There is no step {name} that the operator could carry out", hint=f"First: marketday new step {name}"
        )
