"""Steps that cost nothing themselves."""

import time

from steps_bench.nothing import nothing

from marketday.steps import Context, Outputs, step


@step("noop")
def noop(context: Context) -> Outputs:  # noqa: ARG001  a step's signature
    """Do nothing, as a step."""
    nothing()
    return Outputs()


@step("sleeps", size="M")
def sleeps(context: Context) -> Outputs:
    """Do nothing for some seconds, for others to wait for."""
    time.sleep(context.call.params["seconds"])
    return Outputs()
