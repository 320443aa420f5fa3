"""The local runner: the step is carried out in this process."""

from marketday.calls import Call, Result
from marketday.errors import JobFailed, MarketdayError
from marketday.settings import Settings
from marketday.steps.execution import execute


def run(call: Call, settings: Settings) -> Result:
    """Carry out ``call`` here and now.

    Raises:
        MarketdayError: what the step raised; an error that is not ours comes as JobFailed, with its cause.

    """
    try:
        result = execute(call, settings)
        # Through JSON, as every other runner's result goes: a date among the facts is text for whoever reads them.
        return Result.model_validate_json(result.model_dump_json())
    except MarketdayError:
        raise
    except Exception as error:
        raise JobFailed(f"{type(error).__name__}: {error}") from error
