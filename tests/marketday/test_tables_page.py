"""docs/tables.md, its pictures and docs/checks.md are what the catalogues and the steps say, and can be read."""

import re
import xml.etree.ElementTree as ET

import pytest
import yaml
from project_copy import ROOT
from typer.testing import CliRunner

from marketday import reference, steps, tables
from marketday.checks import CHECKS
from marketday.cli import app
from marketday.reference.flow import own_steps, uses
from marketday.reference.star import sides, star
from marketday.retailers import Checks
from marketday.steps import contract

DOCS = ROOT / "docs"
SVG = "{http://www.w3.org/2000/svg}"
MADE_AGAIN = "make them again: marketday tables --docs docs"


@pytest.fixture(scope="module")
def documents() -> dict[str, str]:
    return reference.documents()


def drawn(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314  what we drew ourselves


@pytest.mark.parametrize("name", ["tables.md", "tables-star.svg", "tables-morning.svg", "checks.md"])
def test_what_lies_in_docs_is_what_the_catalogue_says(name: str, documents: dict[str, str]):
    assert (DOCS / name).read_text(encoding="utf-8") == documents[name], MADE_AGAIN


def test_the_page_has_every_table_and_column_with_a_whole_line(documents: dict[str, str]):
    page = documents["tables.md"]
    for table in (*tables.DELIVERED, *tables.MADE):
        section = page.split(f"\n### {table.name}\n")[1].split("\n### ")[0]
        lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", section, flags=re.MULTILINE)
        assert [name for name, _ in lines] == [column.name for column in table.columns]
        assert {len(re.split(r"(?<!\\)\|", line)) for _, line in lines} == {6}
    assert all(f"`{table.name}`" in page for table in tables.STAGED.values())


def test_the_page_tells_keys_units_rules_and_examples(documents: dict[str, str]):
    section = documents["tables.md"].split("\n### offers\n")[1]
    assert "| `pack_size` |  | float64 | units | at least 0.001 | `12` | Units in one pack" in section
    assert "| `supplier_id` | key | text |  | in suppliers | `V2` | Supplier. |" in section


@pytest.mark.parametrize("name", ["tables.md", "checks.md"])
def test_every_file_that_a_page_links_to_is_there(name: str, documents: dict[str, str]):
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", documents[name])
    assert links
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_every_link_within_the_page_leads_to_a_table(documents: dict[str, str]):
    headings = {line.removeprefix("### ") for line in documents["tables.md"].splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\]\(#([^)]+)\)", documents["tables.md"])) <= headings


def test_the_page_about_checks_has_every_check_and_a_definition_that_is_valid(documents: dict[str, str]):
    page = documents["checks.md"]
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == list(CHECKS)
    (section,) = re.findall(r"^```yaml\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    checks = Checks(**yaml.safe_load(section)["checks"])
    assert checks.of("price_level") is None
    assert checks.of("units_scale") == "warn"


def test_who_uses_a_table_is_what_the_steps_declare():
    known = uses()
    assert known["staged_sales"].writes == ("clean",)
    assert known["sales"].writes == ("load",)
    for step in own_steps():
        assert all(step.name in known[table.name].reads for table in step.reads if table.name in known)
    assert known["runs"].writes == tuple(step.name for step in own_steps())


def test_steps_that_are_not_marketdays_own_are_left_out(monkeypatch):
    monkeypatch.setattr(contract, "_REGISTRY", dict(contract._REGISTRY))
    steps.step("elsewhere_probe", writes=(tables.SALES,))(lambda _: steps.Outputs())
    assert "elsewhere_probe" not in uses()["sales"].writes


def test_every_dimension_stands_at_a_side_of_the_star():
    left, right = sides(tables.DELIVERED)
    assert sorted(table.name for table in (*left, *right)) == ["locations", "products", "suppliers"]
    assert [table.name for table in right] == ["products", "suppliers"]


def test_no_two_boxes_of_the_star_overlap_and_all_are_inside():
    picture = drawn(star())
    width, height = (float(picture.get(name)) for name in ("width", "height"))
    boxes = [
        tuple(float(box.get(name)) for name in ("x", "y", "width", "height"))
        for box in picture.iter(f"{SVG}rect")
        if "framed" in box.get("class")
    ]
    assert len(boxes) == len(tables.DELIVERED)
    for x, y, w, h in boxes:
        assert x >= 0 <= y
        assert x + w <= width
        assert y + h <= height
        others = [box for box in boxes if box != (x, y, w, h)]
        assert not any(x < ox + ow and ox < x + w and y < oy + oh and oy < y + h for ox, oy, ow, oh in others)


def test_the_star_has_a_line_for_every_reference():
    lines = [line for line in drawn(star()).iter(f"{SVG}path") if " C" in line.get("d")]
    assert len(lines) == sum(bool(column.references) for table in tables.DELIVERED for column in table.columns)


@pytest.mark.parametrize("name", ["tables-star.svg", "tables-morning.svg"])
def test_a_picture_can_be_read_in_light_and_dark_and_by_who_cannot_see_it(name: str, documents: dict[str, str]):
    picture = drawn(documents[name])
    style = picture.find(f"{SVG}style").text
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    used = {word for shape in picture.iter() for word in shape.get("class", "").split()}
    styled = {word for word in used if f".{word} {{" in light}
    assert used == styled
    assert {word for word in used if f".{word} {{" in dark} >= used - {"strong", "small"}
    assert picture.find(f"{SVG}desc").text


def test_the_command_shows_one_table_all_tables_or_writes_the_page(tmp_path, documents: dict[str, str]):
    runner = CliRunner(env={"COLUMNS": "200"})
    one = runner.invoke(app, ["tables", "events"])
    assert "location_id" in one.output
    assert "in locations, or *" in one.output
    assert "Written by `load`" in one.output
    everything = runner.invoke(app, ["tables"])
    assert all(table.name in everything.output for table in (*tables.DELIVERED, *tables.MADE))
    runner.invoke(app, ["tables", "--docs", str(tmp_path)])
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == documents


def test_a_wrong_name_is_told_which_tables_there_are():
    wrong = CliRunner().invoke(app, ["tables", "sale"])
    assert wrong.exit_code == 1
    assert "There is no table 'sale'" in wrong.output
