"""`marketday token`: what a retailer's systems show to deliver."""

import datetime as dt
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from marketday import retailers
from marketday import settings as configuration
from marketday.cli.console import RetailerName, console, errors
from marketday.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from marketday.service.tokens import Token, TokenStore
    from marketday.settings import Settings

Label = Annotated[str, typer.Option(metavar="NAME", help="What shows the token, such as the system that delivers.")]
Days = Annotated[
    float | None,
    typer.Option(metavar="DAYS", min=0, max=36_500, help="Days that the new token is valid. Default: until revoked."),
]

token = typer.Typer(
    name="token", no_args_is_help=True, rich_markup_mode="markdown", help="Tokens with which retailers deliver."
)


@token.command("create")
def create_token(retailer: RetailerName, label: Label = "default", days: Days = None) -> None:
    """Make a token with which a retailer delivers, and nothing else, and print it.

    It is shown this once: only its hash is kept. From the first one on, the retailer's deliveries are taken only from
    who shows one, or MARKETDAY_SERVICE_TOKEN, which Airflow needs then to look for the delivery.

    Example: marketday token create simulated > token.txt
    """
    settings = configuration.load()
    retailers.load(retailer, settings.retailers)
    now = _now()
    with _store(settings) as store:
        made, shown = store.create(retailer, label, now=now, expires=_after(now, days))
    _print(made, shown, settings)


@token.command("rotate")
def rotate_token(
    retailer: RetailerName,
    label: Label = "default",
    days: Days = None,
    overlap: Annotated[
        float, typer.Option(metavar="HOURS", min=0, max=8_760, help="Hours that the token before it stays valid.")
    ] = 24.0,
) -> None:
    """Make the next token of the same label and print it; the one before it stays valid for a day.

    A token that somebody may have read is replaced with --overlap 0.

    Example: marketday token rotate simulated --overlap 4 > token.txt
    """
    settings = configuration.load()
    now = _now()
    with _store(settings) as store:
        made, shown = store.rotate(
            retailer, label, now=now, overlap=dt.timedelta(hours=overlap), expires=_after(now, days)
        )
    _print(made, shown, settings)
    errors.print(f"Until {_shown(now + dt.timedelta(hours=overlap))} at most, the one before it is valid too.")


@token.command("revoke")
def revoke_token(
    retailer: RetailerName,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, as `list` shows them.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All tokens of the retailer.")] = False,
) -> None:
    """Make tokens of a retailer invalid for good; every step service knows it within 5 seconds.

    Without any token left, the retailer's deliveries are not open again: make a new one.

    Example: marketday token revoke simulated 0f2c5a81b3d9
    """
    if every == bool(ids):
        raise typer.BadParameter("Give the ids of tokens, or --all.")
    with _store(configuration.load()) as store:
        chosen = [each.id for each in store.all(retailer)] if every else (ids or [])
        if not chosen:
            raise ServiceError(f"{retailer} has no token", hint="`marketday token list` shows whose there are.")
        revoked = store.revoke(retailer, chosen, now=_now())
    for each in revoked:
        console.print(f"Revoked {each.id} of {retailer}, labelled {each.label}", markup=False)


@token.command("list")
def list_tokens(
    retailer: Annotated[
        str | None, typer.Argument(metavar="[RETAILER]", help="Name of the retailer. Default: all of them.")
    ] = None,
) -> None:
    """List tokens, without what is secret, with when they were last used (to the hour) and whether they are valid.

    Example: marketday token list simulated
    """
    from rich.markup import escape
    from rich.table import Table

    now = _now()
    with _store(configuration.load()) as store:
        found = store.all(retailer)
    table = Table("retailer", "label", "id", "state", "created", "last used", "expires")
    for each in found:
        instants = map(_shown, (each.created, each.last_used, each.expires))
        table.add_row(each.retailer, escape(each.label), each.id, each.state(now), *instants)
    console.print(table)


@contextmanager
def _store(settings: "Settings") -> "Iterator[TokenStore]":
    from marketday.service import migrations
    from marketday.service.store import JobStore
    from marketday.service.tokens import TokenStore

    migrations.require_head(settings.jobs_database)
    with closing(JobStore(settings.jobs_database)) as store:
        yield TokenStore(store.engine)


def _print(made: "Token", shown: str, settings: "Settings") -> None:
    """Print the token alone on standard output, so that it can be piped, and the rest beside it."""
    typer.echo(shown)
    until = "until it is revoked" if made.expires is None else f"until {_shown(made.expires)}"
    errors.print(
        f"Token {made.id} of {made.retailer}, labelled {made.label}, is valid {until}. It is not shown again.",
        markup=False,
    )
    if not settings.service_token.get_secret_value():
        errors.print(
            "MARKETDAY_SERVICE_TOKEN is not set: whoever reaches the step service may run jobs, and Airflow may not"
            f" look for the deliveries of {made.retailer}. Set it for both."
        )


def _after(now: dt.datetime, days: float | None) -> dt.datetime | None:
    return None if days is None else now + dt.timedelta(days=days)


def _shown(instant: dt.datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
