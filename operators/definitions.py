"""The retailers that DAGs are made for, apart from the definitions that are wrong."""

from pathlib import Path
from typing import NamedTuple

from marketday import retailers
from marketday.errors import RetailerError
from marketday.retailers import Retailer


class Definitions(NamedTuple):
    """What a folder of definitions holds."""

    good: list[Retailer]
    wrong: list[RetailerError]


def read(folder: Path) -> Definitions:
    """Read every definition; one that is wrong leaves the others as they are."""
    found = Definitions([], [])
    for name in retailers.names(folder):
        try:
            found.good.append(retailers.load(name, folder))
        except RetailerError as error:
            found.wrong.append(error)
    if not found.good and not found.wrong:
        message = f"There is no retailer's definition (*.yaml) in {folder.absolute()}"
        found.wrong.append(RetailerError(message, hint="Set MARKETDAY_RETAILERS to the folder of the definitions."))
    return found
