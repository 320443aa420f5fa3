"""Everything that Marketday raises on purpose.

::

    MarketdayError
    ├── SettingsError          the environment asks for something that cannot be
    ├── RetailerError          a retailer's definition is wrong, or there is none
    ├── DeliveryError          a delivery cannot be accepted, or is not there
    ├── WarehouseError         a table, snapshot or partition is not what was asked for
    ├── StepError              a step cannot do its work with what it was given
    │   ├── GateFailed         a gate's verdict is "fail"; its evidence is already written
    │   └── TooLarge           not even the next larger resource class has the memory that the step needs
    └── ServiceError           the step service, or a job in it, did not do what was asked
        ├── ServiceUnavailable no answer, or no free slot: worth another try (retryable)
        ├── JobLost            the job's process is gone without a result: worth another try (retryable)
        ├── OutOfMemory        the step outgrew its resource class: the next try gets a larger one (retryable)
        ├── TimedOut           the step outlived its time limit: a hang may pass (retryable)
        └── JobFailed          the step raised; carries the step's own error

``retryable`` says whether the same call may succeed later with nothing changed. Each error can travel as data
(:meth:`MarketdayError.to_dict`, :func:`from_dict`), so that a failure reads the same in a log,
over HTTP and in Airflow.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

MAX_LISTED = 10


def listed(items: Iterable[object], *, most: int = MAX_LISTED) -> str:
    """Join at most ``most`` items for a message and count the rest: ``a, b and 3 more``."""
    texts = [str(item) for item in items]
    shown = ", ".join(texts[:most])
    return f"{shown} and {len(texts) - most} more" if len(texts) > most else shown


class MarketdayError(Exception):
    """Base of the tree: what happened, what to do about it (``hint``) and where the proof lies (``evidence``)."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", evidence: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence

    def __str__(self) -> str:
        parts = [self.message]
        if self.hint:
            parts.append(f"What to do: {self.hint}")
        if self.evidence:
            parts.append(f"Evidence: {self.evidence}")
        return "\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the error as JSON-ready data."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "evidence": self.evidence,
            "retryable": self.retryable,
        }


class SettingsError(MarketdayError):
    """The environment asks for something that cannot be."""


class RetailerError(MarketdayError):
    """A retailer's definition is wrong, or there is none of that name."""


class DeliveryError(MarketdayError):
    """A delivery cannot be accepted, or is not there.

    ``where`` says as data what is at fault, as far as that is known: table, column, row (from 0), rule, and examples.
    """

    def __init__(
        self, message: str, *, hint: str = "", evidence: str = "", where: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.where = dict(where or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the error as JSON-ready data."""
        return super().to_dict() | ({"where": self.where} if self.where else {})


class WarehouseError(MarketdayError):
    """A table, snapshot or partition is not what was asked for."""


class StepError(MarketdayError):
    """A step cannot do its work with what it was given."""


class GateFailed(StepError):  # noqa: N818  "failed" is what a gate's verdict is called
    """A gate's verdict is "fail"; its evidence was written before this was raised."""


class TooLarge(StepError):  # noqa: N818  says what the step is
    """Not even the next larger resource class has the memory that the step needs."""


class ServiceError(MarketdayError):
    """The step service, or a job in it, did not do what was asked."""


class ServiceUnavailable(ServiceError):  # noqa: N818  the state's own name, as in HTTP 503
    """No answer, or no free slot."""

    retryable = True

    def __init__(self, message: str, *, hint: str = "", evidence: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.retry_after = retry_after


class JobLost(ServiceError):  # noqa: N818  the job API's word for it
    """The job's process is gone without a result."""

    retryable = True


class OutOfMemory(ServiceError):  # noqa: N818  the state's own name
    """The step outgrew the memory of its resource class; its next attempt gets the next larger one."""

    retryable = True


class TimedOut(ServiceError):  # noqa: N818  the state's own name
    """The step outlived the time limit of its resource class and was ended."""

    retryable = True


class JobFailed(ServiceError):  # noqa: N818  the job API's word for it
    """The step raised something that is not ours (a library's error, a bug); message and traceback are in the log."""


def from_dict(data: dict[str, Any]) -> MarketdayError:
    """Rebuild the error that :meth:`MarketdayError.to_dict` described; an unknown type becomes :class:`JobFailed`."""
    kinds = {kind.__name__: kind for kind in _subclasses(MarketdayError)}
    kind = kinds.get(str(data.get("type")), JobFailed)
    message = str(data.get("message", "no message"))
    if kind is JobFailed and data.get("type") != "JobFailed":
        message = f"{data.get('type')}: {message}"
    error = kind(message, hint=str(data.get("hint", "")), evidence=str(data.get("evidence", "")))
    if isinstance(error, DeliveryError):
        error.where = dict(data.get("where") or {})
    return error


def _subclasses(kind: type[MarketdayError]) -> list[type[MarketdayError]]:
    return [kind, *(deep for child in kind.__subclasses__() for deep in _subclasses(child))]
