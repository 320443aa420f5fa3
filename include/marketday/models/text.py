"""What a model is kept as: text that runs nothing when it is loaded."""

from typing import NamedTuple


class Text(NamedTuple):
    """A model as text: parameters as JSON, artefact as LightGBM text or JSON."""

    parameters: str
    artefact: str
