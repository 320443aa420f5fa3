"""Pages for people: one job, and the latest jobs. Everything in one file, without scripts; every text is escaped."""

import datetime as dt
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlsplit

from fastapi.responses import HTMLResponse

from marketday.calls import Call, Result
from marketday.client import JobStatus
from marketday.settings import ResourceClass

REFRESH_SECONDS = 5
"""How often the page of a job that has not ended loads itself again."""

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem; }
dt, th { color: GrayText; font-weight: normal; text-align: left; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .75rem .25rem 0; vertical-align: top; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.successful { color: #2e7d32; } .failed { color: #c62828; } .running, .accepted { color: #1565c0; }
"""

_MIB = 1 << 20


def job_page(job: JobStatus, call: Call, result: Result | None, size: ResourceClass | None) -> HTMLResponse:
    """Return the page of one job: how it stands, what it was asked to do, and what to do if it failed."""
    rows = [
        ("State", _state(job)),
        ("Message", _text(job.message if job.error is None else "")),
        *_failure(job),
        ("Attempt", _text(job.attempt)),
        ("Class", _text(f"{job.size}: {size.memory_gib:g} GiB, {size.seconds} s, cores: {size.cores}" if size else "")),
        ("Most memory", _text(_mebibytes(job.peak_memory))),
        ("Accepted", _time(job.created)),
        ("Started", _time(job.started)),
        ("Ended", _time(job.finished)),
        ("Took", _text(_duration(job))),
        ("Run", _text(job.run_id)),
        ("Service", _text(job.service)),
        ("Log", _link(f"/jobs/{job.job_id}/logs", "what it has logged")),
        *(("Report", _link(href, title)) for title, href in (result.links if result else {}).items()),
        *_outcome(result),
        ("Call", f"<pre>{_text(call.model_dump_json(indent=2))}</pre>"),
        ("Key", _text(job.key)),
    ]
    title = f"{call}: {job.status}"
    return _page(title, f'{_list(rows)}<p><a href="/jobs?f=html">Latest jobs</a></p>', refresh=not job.final)


def list_page(jobs: Sequence[JobStatus]) -> HTMLResponse:
    """Return the page of several jobs, in their order."""
    names = ("Job", "State", "Attempt", "Accepted", "Took", "Most memory", "Message")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(job))}</tr>" for job in jobs)
    return _page("Latest jobs", f"<table><tr>{head}</tr>{rows}</table>" if jobs else "<p>There is none.</p>")


def _cells(job: JobStatus) -> Iterable[str]:
    block = f"[{job.block}]" if job.block else ""
    return (
        _link(f"/jobs/{job.job_id}?f=html", f"{job.process_id}{block} {job.retailer} {job.day}"),
        _state(job),
        _text(job.attempt),
        _time(job.created),
        _text(_duration(job)),
        _text(_mebibytes(job.peak_memory)),
        _text(job.message),
    )


def _failure(job: JobStatus) -> Iterable[tuple[str, str]]:
    if job.error is None:
        return
    yield "Error", f"{_text(job.error['type'])}<pre>{_text(job.error['message'])}</pre>"
    yield "What to do", _text(job.error.get("hint", ""))
    yield "Evidence", _link(job.error.get("evidence", ""))


def _outcome(result: Result | None) -> Iterable[tuple[str, str]]:
    if result is None:
        return
    yield "Rows written", _text(", ".join(f"{table}: {count}" for table, count in result.rows.items()))
    yield "Facts", "<br>".join(_text(f"{name}: {value}") for name, value in result.facts.items())


def _page(title: str, body: str, *, refresh: bool = False) -> HTMLResponse:
    again = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if refresh else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}<title>{_text(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{_text(title)}</h1>{body}</body></html>",
        headers=_HEADERS,
    )


def _list(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and values, which are HTML; a value that is empty is left out."""
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows if value)}</dl>"


def _state(job: JobStatus) -> str:
    return f'<strong class="{job.status}">{job.status}</strong>'


def _link(href: str, title: str = "") -> str:
    """Return a link; the bare text where it does not lead to a page."""
    if urlsplit(href).scheme not in ("http", "https", "") or not href:
        return _text(href)
    return f'<a href="{_text(href)}">{_text(title or href)}</a>'


def _time(at: dt.datetime | None) -> str:
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""


def _duration(job: JobStatus) -> str:
    return f"{(job.finished - job.started).total_seconds():.1f} s" if job.started and job.finished else ""


def _mebibytes(size: int | None) -> str:
    return f"{size / _MIB:,.0f} MiB" if size else ""


def _text(value: object) -> str:
    return escape(str(value))
