"""Everything in the `console` blocks of the page about deliveries is typed against a real step service."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from probe_service import running
from project_copy import ROOT
from typed_page import follow

from marketday.deliveries.columns import MAX_TEXT
from marketday.deliveries.formats import CODINGS, MEDIA_TYPES
from marketday.deliveries.limits import RATIO
from marketday.deliveries.text import CHARSETS
from marketday.settings import Settings

PAGE = ROOT / "docs" / "deliveries.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_what_is_typed_on_the_page_works_as_it_says(tmp_path):
    settings = Settings(home=tmp_path / "home", retailers=ROOT / "include" / "retailers")
    with running(settings) as service:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "160",
            "NO_PROXY": "127.0.0.1",
            "URL": f"{service.url}/retailers/simulated",
            "MARKETDAY_HOME": str(settings.home),
            "MARKETDAY_RETAILERS": str(settings.retailers),
            "MARKETDAY_SERVICE_URL": service.url,
        }
        place = tmp_path / "retailer"
        place.mkdir()
        typed = follow(PAGE, place, environment, e2e=False)
    assert sum("/complete?" in line for line in typed) == 3


def test_every_file_that_the_page_links_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_the_limits_on_the_page_are_those_of_the_settings():
    page = PAGE.read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| [^|]+ \| ([^|]+) \| `MARKETDAY_(DELIVERY_\w+)` \|$", page, flags=re.MULTILINE))
    told = {name.lower(): value for value, name in told.items()}
    defaults = {name: Settings.model_fields[name].default for name in told}
    assert told == {
        name: f"{value >> 30} GiB" if name.endswith("bytes") else f"{value:,}" for name, value in defaults.items()
    }
    assert len(told) == 5
    assert f"more than {RATIO} times its size" in page
    assert f"more than {MAX_TEXT >> 10} KiB" in page


def test_the_page_names_every_format_compression_and_encoding():
    page = PAGE.read_text(encoding="utf-8")
    told = re.findall(r"^\| [\w ]+ \| `(\w+/[\w./-]+)`", page, flags=re.MULTILINE)
    assert {MEDIA_TYPES[name] for name in told} == set(MEDIA_TYPES.values())
    assert all(f"{name}" in page for name in {*CODINGS.values()} - {"identity"})
    assert all(f"`{name}`" in page for name in CHARSETS if name != "utf-8")
