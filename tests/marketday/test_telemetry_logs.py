"""Logs of a process: one line of logfmt each, whoever writes it, with its context and without secrets."""

import os
import re
import subprocess
import sys
import textwrap

import pytest

CONTEXT = {"run_id": "manual__1", "retailer": "corner", "day": "2026-03-02", "step": "clean", "job_id": "7"}
HEAD = r"ts=\S+Z level=(\w+) msg=(\"(?:[^\"\\]|\\.)*\"|\S+)"


def logged(script, *, context=CONTEXT, before="", **environment):
    """The lines that a process writes that runs ``before``, configures logging and runs ``script``."""
    prologue = f"""
        import logging, threading, warnings, structlog
        from marketday import settings
        from marketday.telemetry.logs import configure_logging, harmless
        configure_logging(settings.load(), lambda: {context!r})
        log = structlog.stdlib.get_logger("ours")
    """
    code = f"{before}\n" + textwrap.dedent(prologue) + textwrap.dedent(script)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert ended.stderr == ""
    return ended.stdout.splitlines()


@pytest.mark.parametrize(
    ("script", "level", "message"),
    [
        ("log.info('hello', rows=3)", "info", "hello"),
        ("logging.getLogger('library').warning('of %d', 2)", "warning", "of 2"),
        ("warnings.warn('beware', stacklevel=1)", "warning", "UserWarning: beware"),
        ("1 / 0", "critical", "uncaught exception"),
        ("thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()", "critical", "uncaught"),
        ("type('Noisy', (), {'__del__': lambda self: 1 / 0})()", "error", "Exception ignored|exception ignored"),
    ],
)
def test_whoever_writes_the_line_has_time_level_message_and_context(script, level, message):
    (line,) = logged(script)
    head = re.match(HEAD, line)
    assert head[1] == level
    assert re.search(message, head[2])
    assert " ".join(f"{name}={value}" for name, value in CONTEXT.items()) in line


def test_an_exception_is_one_line_with_its_traceback():
    (line,) = logged("""
        try:
            raise ValueError("first\\nsecond\\r\\u2028third")
        except ValueError:
            log.exception("it failed")
    """)
    assert r"ValueError: first\nsecond\r\u2028third" in line
    assert r"Traceback (most recent call last):\n" in line


def test_a_line_that_belongs_to_no_job_has_no_fields_of_one():
    (line,) = logged("log.info('hello')", context={})
    assert re.fullmatch(r"ts=\S+ level=info msg=hello logger=ours", line)


def test_the_events_own_fields_go_before_the_context():
    (line,) = logged("log.info('hello', step='load')")
    assert "step=load" in line
    assert "step=clean" not in line


@pytest.mark.parametrize("before", ["", "import distributed"])
def test_a_library_that_would_print_its_records_itself_does_not(before):
    (line,) = logged("import distributed; logging.getLogger('distributed.worker').warning('slow')", before=before)
    assert re.match(HEAD, line)[2] == "slow"


def test_a_record_that_cannot_be_rendered_says_so_and_shows_nothing_of_itself():
    lines = logged("""
        logging.getLogger("library").info("%d", "a hidden thing")
        log.info("hello", **{"two words": "a hidden thing"})
    """)
    assert [re.match(HEAD, line)[1] for line in lines] == ["error", "error"]
    assert all("unreadable log record" in line for line in lines)
    assert not any("hidden" in line for line in lines)


def test_a_line_that_cannot_be_written_is_not_printed_elsewhere_with_its_secrets():
    code = """
        import os
        os.close(1)
        log.info("the token is secret-token")
        logging.getLogger("library").info("the token is secret-token")
    """
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import logging, structlog\nfrom marketday import settings\n"
            "from marketday.telemetry.logs import configure_logging\n"
            "configure_logging(settings.load())\nlog = structlog.stdlib.get_logger('ours')\n" + textwrap.dedent(code),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "MARKETDAY_SERVICE_TOKEN": "secret-token"},
        check=False,
    )
    assert ended.stderr.count("log record lost") == 2
    assert "secret-token" not in ended.stderr


def test_secrets_are_masked_in_messages_fields_and_tracebacks():
    (first, second) = logged(
        """
        log.info("to postgresql://jobs:pass@word@host/jobs", token=settings.load().service_token.get_secret_value())
        raise ValueError(settings.load().jobs_url)
        """,
        MARKETDAY_SERVICE_TOKEN='a "quoted" token',
        MARKETDAY_JOBS_URL="postgresql://jobs:pass@word@host/jobs",
    )
    assert "token=***" in first
    for line in (first, second):
        assert "postgresql://jobs:***@host/jobs" in line
        assert "quoted" not in line
        assert "pass@word" not in line


def test_an_exception_of_telemetry_is_logged_and_does_not_leave_the_block():
    first, second = logged("""
        with harmless("counting"):
            1 / 0
        log.info("still here")
    """)
    assert "telemetry failed" in first
    assert "doing=counting" in first
    assert "ZeroDivisionError" in first
    assert "still here" in second
