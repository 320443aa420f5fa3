"""Two steps of the morning in one release, which the environment variable RELEASE names."""

import os

from marketday.steps import Context, Outputs, step

RELEASE = int(os.environ["RELEASE"])


@step("publish", version=RELEASE)
def publish(context: Context) -> Outputs:
    """Say which release this is."""
    return Outputs(facts={"release": RELEASE})


@step("verify", version=RELEASE)
def verify(context: Context) -> Outputs:
    """Say which release this is."""
    return Outputs(facts={"release": RELEASE})
