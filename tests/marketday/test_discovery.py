"""A new file is all that a new step, model or feature needs; a retailer's definition chooses its model."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from small_shop import DAY, facts
from typer.testing import CliRunner

from marketday import cli, discovery, models, steps
from marketday.calls import Call
from marketday.errors import StepError
from marketday.features import declare
from marketday.models import contract as model_registry
from marketday.models.mean import MeanModel
from marketday.retailers import Training
from marketday.steps import contract as step_registry
from marketday.steps.contract import MORNING
from marketday.steps.execution import execute

MODULE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from marketday.features.declare import feature
from marketday.models import model
from marketday.models.mean import MeanModel
from marketday.steps import Outputs, step


@model
@dataclass(frozen=True, kw_only=True)
class Outside(MeanModel):
    kind: ClassVar[str] = "outside"

    @classmethod
    def learn(cls, data, training):
        return cls()

    def mean(self, rows):
        return np.ones(len(rows.series))


@feature(inputs=("demand",), lookback=1, knows="origin")
def outside(view):
    """Demand."""
    return view.demand


@step("outside")
def leave_nothing(context):
    """Leave nothing."""
    return Outputs()
'''

SECOND_GBM = MODULE.replace('"outside"', '"gbm"', 1)


@dataclass(frozen=True, kw_only=True)
class Flat(MeanModel):
    """Every day like the mean of the last four weeks."""

    kind: ClassVar[str] = "flat"

    @classmethod
    def learn(cls, *_):
        return cls()

    def mean(self, rows):
        return np.nanmean(rows.recent[:, -28:], axis=1)[rows.series].astype(float)


@pytest.fixture(autouse=True)
def _registries(monkeypatch):
    """Forget at the end what a test has registered."""
    for of, known in ((step_registry, steps.names), (model_registry, models.kinds), (declare, declare.registry)):
        known()
        monkeypatch.setattr(of, "_REGISTRY", dict(of._REGISTRY))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder whose modules can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("outside_module", None)


def test_every_module_of_a_package_is_found_but_those_that_are_left_out():
    found = discovery.modules("marketday.models", but=("gbm",))
    assert "marketday.models.seasonal" in found
    assert "marketday.models.gbm" not in found


def test_modules_outside_the_project_register_steps_models_and_features(place, settings):
    (place / "outside_module.py").write_text(MODULE)
    given = settings.model_copy(update={"step_modules": "outside_module"})
    execute(Call(step="outside", retailer="simulated", day=DAY), given)
    assert "outside" in steps.names()
    assert "outside" in models.kinds()
    assert "outside" in declare.registry()


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("import nothing_of_that_name", "broken cannot be imported: ModuleNotFoundError", "Correct the file"),
        ("x = (", "broken cannot be imported: SyntaxError", "Correct the file"),
        (
            SECOND_GBM,
            "broken cannot be imported: Two models are of the kind gbm",
            "another kind",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_what_is_wrong(place, text, told, hint):
    (place / "broken.py").write_text(text)
    with pytest.raises(StepError, match=told) as refused:
        discovery.load(["broken"])
    assert hint in refused.value.hint


def test_two_steps_cannot_have_one_name():
    with pytest.raises(StepError, match=r"Two steps are called clean: marketday\.steps\.clean\.clean and .*another"):

        @steps.step("clean")
        def another(context):
            """Do something else."""


def test_a_module_that_is_imported_once_more_registers_the_same_again():
    known = steps.get("clean")
    steps.step("clean", version=known.version)(known.function)
    models.model(models.Gbm)


def test_steps_are_listed_in_the_order_of_the_morning_and_others_after_them():
    assert (MORNING[0], MORNING[-1]) == ("ingest", "verify")
    steps.step("a_new_one")(lambda _: steps.Outputs())
    assert steps.names() == [*MORNING, "a_new_one", "checkpoint", "compact", "fsck", "vacuum"]


def test_a_retailer_chooses_its_model_in_its_definition(run_step, simulated):
    models.model(Flat)
    shop = simulated.model_copy(update={"training": Training(model="flat", history_days=120)})
    given = facts()
    given["sales"] = given["sales"].with_columns(units=5.0)  # no rhythm, so that it is as good as the baseline's mean
    outputs = run_step("train", DAY, given, retailer=shop)
    assert outputs.facts["model"].startswith("flat@")
    features = run_step("features", DAY, {}, retailer=shop).tables["features"]
    predicted = run_step("predict", DAY, {"features": features, **outputs.tables}, block="000", retailer=shop)
    rows = predicted.tables["predictions"]
    assert rows["model"].unique().to_list() == [outputs.facts["model"]]
    assert rows["mode"].unique().to_list() == ["fresh"]
    assert rows["mean"].to_list() == pytest.approx([5.0] * rows.height)


def test_a_model_that_there_is_not_is_answered_with_those_that_there_are(run_step, simulated):
    shop = simulated.model_copy(update={"training": Training(model="oracle")})
    with pytest.raises(StepError, match="There is no model kind 'oracle'") as refused:
        run_step("train", DAY, facts(), retailer=shop)
    assert refused.value.hint == "Use one of: gbm, seasonal."


def test_a_morning_whose_model_there_is_not_goes_on_with_the_baseline_and_says_why(run_step, simulated):
    shop = simulated.model_copy(update={"training": Training(model="oracle")})
    outputs = run_step("train", DAY, facts(), params={"only_if_missing": True}, retailer=shop)
    assert outputs.facts == {"model": None, "trained": False, "reason": "There is no model kind 'oracle'"}


def test_the_usual_model_is_there():
    assert Training().model in models.kinds()


@pytest.mark.parametrize(("kind", "code"), [("seasonal", 0), ("oracle", 1)])
def test_the_list_of_retailers_says_whose_model_there_is_not(tmp_path, monkeypatch, kind, code):
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(tmp_path))
    (tmp_path / "corner.yaml").write_text(f"title: Corner\ntime_zone: Europe/Berlin\ntraining: {{model: {kind}}}\n")
    shown = CliRunner().invoke(cli.app, ["retailers"])
    assert shown.exit_code == code
    told = "corner.yaml: training.model: There is no model kind 'oracle'. Use one of: gbm, seasonal."
    assert (told in " ".join(shown.output.split())) is (kind == "oracle")


def test_a_name_that_cannot_be_a_kind_is_refused_by_the_definition(tmp_path):
    from marketday import retailers
    from marketday.errors import RetailerError

    (tmp_path / "corner.yaml").write_text("title: Corner\ntime_zone: Europe/Berlin\ntraining: {model: My Model}\n")
    with pytest.raises(RetailerError, match=r"corner\.yaml:3: training\.model: 'My Model'"):
        retailers.load("corner", tmp_path)
