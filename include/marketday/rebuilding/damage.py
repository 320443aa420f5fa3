"""What a morning was made from and can no longer be read, told as an error that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from deltalake.exceptions import DeltaError

from marketday.errors import WarehouseError


@contextmanager
def told(retailer: str) -> Iterator[None]:
    """Turn what libraries say of a file that is gone or damaged into a WarehouseError."""
    try:
        yield
    except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
        why = str(error).strip().partition("\n")[0]
        raise WarehouseError(
            f"something that is stored of {retailer} cannot be read: {why}",
            hint=f"`marketday fsck {retailer} --deep` says which files are gone or damaged. Those of a morning that "
            "published nothing go with `vacuum`, once `retention_days` are over.",
        ) from error
