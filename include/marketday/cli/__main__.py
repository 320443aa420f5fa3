"""`python -m marketday.cli`: the command line where its script is not on PATH."""

from marketday.cli import app

app()
