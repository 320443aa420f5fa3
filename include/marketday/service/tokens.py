"""Tokens of retailers: what a retailer's systems show to deliver. The database knows their hashes only.

A label names what shows the token. Whoever replaces a token keeps its label, so that of one label there is a token in
use and, for some hours, perhaps the one before it. An instant is passed in by the caller, in UTC.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from marketday.errors import ServiceError, listed
from marketday.secrets import TOKEN_PREFIX
from marketday.service.database import TOKENS, transaction

_BYTES = 32
"""Of random in each token: 256 bits, which nobody guesses."""


class Token(NamedTuple):
    """One row: all that is known of a token."""

    id: str
    retailer: str
    label: str
    hash: str
    created: dt.datetime
    last_used: dt.datetime | None
    expires: dt.datetime | None
    revoked: dt.datetime | None

    def state(self, now: dt.datetime) -> Literal["valid", "expired", "revoked"]:
        """Return what it is at an instant."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


def hashed(token: str) -> str:
    """Return what is stored of a token: its SHA-256, in hexadecimal.

    A slow hash with a salt protects passwords, which people choose from a few billions. A token is 256 random bits: who
    has the hash finds no token for it, with however fast a hash, and no two tokens have the same.
    """
    return hashlib.sha256(token.encode()).hexdigest()


class TokenStore:
    """The tokens in a migrated database.

    Every method raises ServiceUnavailable if the database does not answer within some seconds.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def all(self, retailer: str | None = None) -> list[Token]:
        """Return all tokens, or those of a retailer, by retailer, label and age; the latest is the last."""
        return self._select([] if retailer is None else [TOKENS.c.retailer == retailer])

    def valid(self, now: dt.datetime) -> list[Token]:
        """Return the tokens that are valid at ``now``, of all retailers."""
        return self._select([_valid(now)])

    def retailers(self) -> frozenset[str]:
        """Return the retailers that have, or once had, a token."""
        with transaction(self._engine) as connection:
            return frozenset(connection.scalars(sa.select(TOKENS.c.retailer).distinct()))

    def create(
        self, retailer: str, label: str, *, now: dt.datetime, expires: dt.datetime | None = None
    ) -> tuple[Token, str]:
        """Make a token; return what is known of it, and the token itself, which is nowhere else.

        Raises:
            ServiceError: the retailer has a valid token of that label.

        """
        if any(token.label == label and token.state(now) == "valid" for token in self.all(retailer)):
            raise ServiceError(
                f"{retailer} has a valid token labelled {label!r}",
                hint=f"Replace it with `marketday token rotate {retailer} --label {label}`, or give the new one a label"
                " of its own.",
            )
        with transaction(self._engine) as connection:
            return _insert(connection, retailer, label, now, expires)

    def rotate(
        self, retailer: str, label: str, *, now: dt.datetime, overlap: dt.timedelta, expires: dt.datetime | None = None
    ) -> tuple[Token, str]:
        """Make the next token of a label, all or nothing; those before it stay valid for ``overlap`` at most.

        Raises:
            ServiceError: the retailer has no valid token of that label.

        """
        until = _text(now + overlap)
        mine = (TOKENS.c.retailer == retailer, TOKENS.c.label == label, _valid(now))
        longer = sa.or_(TOKENS.c.expires.is_(None), TOKENS.c.expires > until)
        with transaction(self._engine) as connection:
            before = connection.scalars(sa.select(TOKENS.c.id).where(*mine)).all()
            connection.execute(sa.update(TOKENS).where(TOKENS.c.id.in_(before), longer).values(expires=until))
            if before:
                return _insert(connection, retailer, label, now, expires)
        labels = {token.label for token in self.all(retailer) if token.state(now) == "valid"}
        raise ServiceError(
            f"{retailer} has no valid token labelled {label!r}, but {listed(sorted(labels)) or 'none at all'}",
            hint="Name one of these with --label, or make one with `marketday token create`.",
        )

    def revoke(self, retailer: str, ids: Collection[str], *, now: dt.datetime) -> list[Token]:
        """Make tokens of a retailer invalid for good, all or nothing; one that is revoked already stays as it was.

        Raises:
            ServiceError: the retailer has no token of one of these ids.

        """
        known = {token.id: token for token in self.all(retailer)}
        if missing := sorted(set(ids) - set(known)):
            raise ServiceError(
                f"{retailer} has no token {listed(missing)}",
                hint=f"`marketday token list {retailer}` shows them: {listed(known) or 'there is none'}.",
            )
        revoked = sa.update(TOKENS).where(TOKENS.c.id.in_(ids), TOKENS.c.revoked.is_(None))
        with transaction(self._engine) as connection:
            connection.execute(revoked.values(revoked=_text(now)))
        return [token for token in self.all(retailer) if token.id in ids]

    def note_use(self, token_id: str, now: dt.datetime) -> None:
        """Write down that a token was shown."""
        with transaction(self._engine) as connection:
            connection.execute(sa.update(TOKENS).where(TOKENS.c.id == token_id).values(last_used=_text(now)))

    def _select(self, conditions: Collection[sa.ColumnElement[bool]]) -> list[Token]:
        order = (TOKENS.c.retailer, TOKENS.c.label, TOKENS.c.created)
        with transaction(self._engine) as connection:
            rows = connection.execute(sa.select(TOKENS).where(*conditions).order_by(*order))
            return [_token(dict(row)) for row in rows.mappings()]


def _insert(
    connection: sa.Connection, retailer: str, label: str, now: dt.datetime, expires: dt.datetime | None
) -> tuple[Token, str]:
    shown = TOKEN_PREFIX + secrets.token_urlsafe(_BYTES)
    row = {
        "id": secrets.token_hex(6),
        "retailer": retailer,
        "label": label,
        "hash": hashed(shown),
        "created": _text(now),
        "expires": None if expires is None else _text(expires),
    }
    made = connection.execute(sa.insert(TOKENS).values(row).returning(TOKENS)).mappings().one()
    return _token(dict(made)), shown


def _valid(now: dt.datetime) -> sa.ColumnElement[bool]:
    return sa.and_(TOKENS.c.revoked.is_(None), sa.or_(TOKENS.c.expires.is_(None), TOKENS.c.expires > _text(now)))


def _token(row: dict[str, Any]) -> Token:
    instants = ("created", "last_used", "expires", "revoked")
    read = {name: None if row[name] is None else dt.datetime.fromisoformat(row[name]) for name in instants}
    return Token(**{**row, **read})


def _text(instant: dt.datetime) -> str:
    return instant.isoformat(timespec="microseconds")
