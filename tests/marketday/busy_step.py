"""A step that is in native code for minutes, where Python runs no handler of a signal."""

import hashlib
from pathlib import Path

from marketday.steps import Context, Outputs, step


@step("busy")
def busy(context: Context) -> Outputs:
    """Make a file and compute without an end."""
    Path(context.call.params["file"]).touch()
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2_000_000_000)
    return Outputs()
