"""Keeps secrets out of whatever is written down: logs, errors that travel, traces, error reports."""

import json
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from marketday.settings import Settings

MASK = "***"

TOKEN_PREFIX = "mdt_"  # noqa: S105  the part that is the same for all
"""What every retailer's token begins with, so that one is known as a secret wherever it turns up."""

# What the password of a setting is, also if somebody forgot to quote a "@" or a "/" in it: all up to the last "@".
_URL = re.compile(r"^[a-z][\w+.-]*://(?P<user>[^:/@]*):(?P<password>.*)@[^@]*$", re.IGNORECASE | re.DOTALL)
_DSN = re.compile(r"^https?://(?P<key>[^:@/]+)@")
_SECRET_VARIABLE = re.compile(
    r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_KEY|PRIVATE_KEY|FERNET_KEY|CREDENTIAL|_DSN|_CONN|_HEADERS",
    re.IGNORECASE,
)
_SHORTEST = 8
"""Characters; a shorter value of such a variable is more likely a word, such as "true", that every line may contain."""

# What is a secret wherever it stands, known or not. A quote may have backslashes before it: the text may be rendered.
# Every repetition is bounded: a pattern must not take time that is quadratic in the length of what somebody sends us.
_ANYWHERE = (
    re.compile(rf"(?P<keep>{TOKEN_PREFIX})[\w-]{{32,64}}"),
    re.compile(r"(?P<keep>://[^\s:/@]{0,64}:)[^\s\"'\\]{1,1024}(?=@)"),
    re.compile(
        r"(?P<keep>\bauthorization\\{0,8}[\"']?\s{0,4}[:=,]\s{0,4}\\{0,8}(?:b?[\"'])?(?:\w{1,16}\s{1,4})?)[^\s\"',;\\]+",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<keep>\bbearer\s{1,4})[\w.~+/-]{8,}=*", re.IGNORECASE),
    re.compile(
        r"(?P<keep>(?:password|passwd|secret|token|api_?key|access_key)\w{0,16}"
        r"(?:=|\\{0,8}[\"']\s{0,4}:\s{0,4})\\{0,8}[\"']?)[^\s\"',;&\\]+",
        re.IGNORECASE,
    ),
)

_known: re.Pattern[str] | None = None


def learn(settings: Settings) -> None:
    """Take note of this process's secrets: secret settings, passwords in URLs, variables that sound like a secret."""
    global _known  # noqa: PLW0603  a process has one set of secrets, and every writer must know it
    found = {form for secret in _secrets(settings) for form in _forms(secret)}
    longest_first = sorted(found, key=lambda form: (-len(form), form))
    _known = re.compile("|".join(map(re.escape, longest_first))) if found else None


def redact(text: str) -> str:
    """Return ``text`` with every known secret, and what looks like a password or a token, masked."""
    if _known is not None:
        text = _known.sub(MASK, text)
    for pattern in _ANYWHERE:
        text = pattern.sub(rf"\g<keep>{MASK}", text)
    return text


def redact_all(value: Any) -> Any:
    """Return JSON-like data with every text in it redacted, but for the keys."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_all(each) for key, each in value.items()}
    if isinstance(value, list):
        return [redact_all(each) for each in value]
    return value


def _secrets(settings: Settings) -> Iterable[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
            yield from _inside(value.get_secret_value())
        elif isinstance(value, str):
            yield from _inside(value)
    for name, text in os.environ.items():
        if _SECRET_VARIABLE.search(name):
            yield from _inside(text)
            if "://" not in text and len(text) >= _SHORTEST:
                yield text


def _inside(text: str) -> Iterable[str]:
    """Return the password of a URL, or the key of an error reporter's address."""
    if url := _URL.match(text):
        yield url["password"]
    if dsn := _DSN.match(text):
        yield dsn["key"]


def _forms(secret: str) -> Iterable[str]:
    """Return how a secret may be written: as it is, quoted for a URL, in JSON or in Python."""
    if secret:
        yield from (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1])
