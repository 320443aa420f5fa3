"""The alert rules: they fire when they say, on metrics that there are, in a format that Prometheus reads."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import probe_service
import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DOCUMENTED = DEPLOY.parent / "docs" / "telemetry.md"

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there (Debian: prometheus)")


def rules() -> list[dict]:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return group["rules"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_looks_at_documented_metrics_and_says_what_to_do(rule):
    looked_at = set(re.findall(r"marketday_\w+", rule["expr"]))
    assert looked_at
    assert looked_at <= set(re.findall(r"`(marketday_\w+)`", DOCUMENTED.read_text(encoding="utf-8")))
    assert {"summary", "do"} == set(rule["annotations"])


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_has_a_test(rule):
    tested = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    fires = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert rule["alert"] in fires


@promtool
def test_every_alert_fires_when_it_must_and_only_then():
    command = ["promtool", "test", "rules", str(DEPLOY / "alerts_test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_prometheus_has_nothing_to_say_against_the_metrics(settings):
    with probe_service.running(settings) as service:
        text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    assert "marketday_job_slots" in text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
