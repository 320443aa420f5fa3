"""The callable whose overhead is of interest; it imports nothing, so that a plain task does not either."""


def nothing() -> None:
    """Do nothing."""
