"""`marketday new`: what it writes is clean as it is, and what it refuses it refuses before it writes anything.

That what it writes passes its own tests and those that are asked of all is in test_docs.py.
"""

import subprocess
from pathlib import Path

import pytest
from project_copy import copied
from typer.testing import CliRunner

from marketday import cli, kit
from marketday.errors import MarketdayError
from marketday.kit import EXAMPLES, Kind

LONGEST = "a" * 19 + "_" + "b" * 20
"""A name as long as any may be."""


@pytest.fixture
def project(tmp_path) -> Path:
    """An empty project: only the folders that are written to."""
    for example in EXAMPLES.values():
        for path in example.files.values():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    return tmp_path


def written(project: Path) -> list[str]:
    return sorted(path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file())


def test_everything_that_is_written_passes_lint_format_and_types(tmp_path):
    place = tmp_path / "project"
    environment = copied(place)
    files = [
        str(path)
        for name in ("x", "sold_out", LONGEST)
        for kind in Kind
        for path in kit.write(kind, name, place)
        if path.suffix == ".py"
    ]
    typed = [file for file in files if not file.startswith("tests/")]
    for command in (["ruff", "check", *files], ["ruff", "format", "--check", *files], ["mypy", *typed]):
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_says_what_it_has_written_and_what_to_type_next(project):
    done = CliRunner().invoke(cli.app, ["new", "model", "smoothed", "--folder", str(project)])
    assert done.exit_code == 0
    assert written(project) == ["include/marketday/models/smoothed.py", "tests/marketday/test_model_smoothed.py"]
    assert all(path in done.output for path in written(project))
    assert "pytest tests/marketday/test_model_smoothed.py tests/conformance/test_models.py -k smoothed" in done.output
    assert "training: {model: smoothed}" in done.output


@pytest.mark.parametrize("kind", Kind)
def test_a_description_is_where_the_kind_says_what_it_is(project, kind):
    if kind is Kind.operator:
        kit.write(Kind.step, "sold_out", project)
    paths = kit.write(kind, "sold_out", project, "count what was sold out")
    assert sum("Count what was sold out." in (project / path).read_text() for path in paths) >= 1


@pytest.mark.parametrize("name", ["", "Sold", "sold-out", "sold out", "2days", "_sold", "sold_", "sold__out", "a" * 41])
def test_a_name_that_cannot_be_one_is_answered_with_what_is_allowed(project, name):
    with pytest.raises(MarketdayError, match="cannot be the name of a feature") as refused:
        kit.write(Kind.feature, name, project)
    assert "Small letters and digits in words joined by _, at most 40 in all" in refused.value.hint
    assert written(project) == []


@pytest.mark.parametrize("name", ["class", "sum", "pl", "step", "feature"])
def test_a_name_that_means_something_else_is_refused(project, name):
    with pytest.raises(MarketdayError, match="means something else"):
        kit.write(Kind.step, name, project)


def test_a_step_cannot_have_the_name_of_a_table(project):
    with pytest.raises(MarketdayError, match="There is a table 'stock'"):
        kit.write(Kind.step, "stock", project)
    kit.write(Kind.model, "stock", project)


@pytest.mark.parametrize("description", ['Say "it".', "Two\nlines.", "A \\.", "x" * 101, " . "])
def test_a_description_that_would_not_fit_is_refused(project, description):
    with pytest.raises(MarketdayError, match="cannot be a description"):
        kit.write(Kind.feature, "pace", project, description)
    assert written(project) == []


def test_nothing_is_overwritten_and_nothing_is_written_by_halves(project):
    test = project / "tests/marketday/test_feature_pace.py"
    test.write_text("mine")
    with pytest.raises(MarketdayError, match=r"tests/marketday/test_feature_pace\.py is there already"):
        kit.write(Kind.feature, "pace", project)
    assert test.read_text() == "mine"
    assert written(project) == ["tests/marketday/test_feature_pace.py"]


def test_an_operator_needs_its_step(project):
    with pytest.raises(MarketdayError, match="There is no step sold_out") as refused:
        kit.write(Kind.operator, "sold_out", project)
    assert refused.value.hint == "First: marketday new step sold_out"


def test_a_folder_that_is_no_project_is_refused_with_what_to_do(tmp_path):
    done = CliRunner().invoke(cli.app, ["new", "step", "sold_out", "--folder", str(tmp_path)])
    assert done.exit_code == 1
    assert "is no checkout of Marketday" in done.output
    assert "--folder" in done.output
