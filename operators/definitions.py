"""The retailers that DAGs are made for, apart from the definitions that are wrong."""

from typing import NamedTuple

from marketday import retailers
from marketday.errors import RetailerError
from marketday.retailers import Retailer
from marketday.settings import Settings
from operators import releases


class Definitions(NamedTuple):
    """What a folder of definitions holds."""

    good: list[Retailer]
    wrong: list[RetailerError]


def read(settings: Settings) -> Definitions:
    """Read every definition; one that is wrong leaves the others as they are."""
    folder = settings.retailers
    found = Definitions([], [])
    for name in retailers.names(folder):
        try:
            retailer = retailers.load(name, folder)
            releases.check(retailer, folder / f"{name}.yaml", settings.stage)
        except RetailerError as error:
            found.wrong.append(error)
        else:
            found.good.append(retailer)
    if not found.good and not found.wrong:
        message = f"There is no retailer's definition (*.yaml) in {folder.absolute()}"
        found.wrong.append(RetailerError(message, hint="Set MARKETDAY_RETAILERS to the folder of the definitions."))
    return found
