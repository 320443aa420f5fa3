"""What acts as the customer of a retailer: the simulated grocer, or a public data set replayed day by day."""

from pathlib import Path

from marketday.adapters.contract import Customer
from marketday.adapters.freshretailnet import FreshRetailNet
from marketday.adapters.m5 import M5
from marketday.errors import RetailerError
from marketday.retailers import Retailer
from marketday.simulator import Grocer

__all__ = ["M5", "Customer", "FreshRetailNet", "customer"]


def customer(retailer: Retailer, data: Path) -> Customer:
    """Return what delivers for ``retailer``; ``data`` is the folder of the public data sets.

    Raises:
        RetailerError: the retailer has a real customer, or its data set is not in ``data``.

    """
    match retailer.source:
        case "simulator":
            return Grocer(retailer.horizon)
        case "m5":
            return M5(data / "m5", retailer.horizon)
        case "freshretailnet":
            return FreshRetailNet(data / "freshretailnet", retailer.horizon)
        case "none":
            raise RetailerError(
                f"{retailer.name} has a real customer: nothing here can deliver for it",
                hint="Let its systems deliver through the API, or set `source: simulator` in its definition.",
            )
