"""Models: from the rows of the table `features` to a distribution of demand, by kind.

A model is a class with what :class:`Model` asks for and the decorator :func:`model`, in a module of this package.
"""

from marketday.models.contract import Model, from_text, get, kinds, model
from marketday.models.gbm import Gbm
from marketday.models.seasonal import Seasonal
from marketday.models.text import Text

__all__ = ["Gbm", "Model", "Seasonal", "Text", "from_text", "get", "kinds", "model"]
