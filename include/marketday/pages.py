"""Pages for people: templates beside the code that fills them, each page one file that needs nothing else."""

from collections.abc import Callable
from pathlib import Path

import jinja2


def template(path: Path, **filters: Callable[..., str]) -> jinja2.Template:
    """Return a template, with filters of its own; it may extend ``page.html``, the common look of short pages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(path.name)
