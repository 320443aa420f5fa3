"""Mornings of a retailer with a history: each is received, checked and loaded.

    python daily.py HOME FOLDER OUT.json

FOLDER holds `history` and a folder for each morning, named by its day. Only the mornings are timed.
"""

import datetime as dt
import json
import sys
import time
from pathlib import Path

from service import delivered, loaded, running


def main() -> None:
    """Time every morning."""
    home, folder, out = (Path(argument) for argument in sys.argv[1:])
    days = sorted(dt.date.fromisoformat(each.name) for each in folder.iterdir() if each.name != "history")
    took = []
    with running(home) as client:
        first = days[0] - dt.timedelta(days=1)
        delivered(client, first, folder / "history", "history")
        loaded(client, first)
        for day in days:
            begun = time.perf_counter()
            delivered(client, day, folder / str(day), "daily")
            rows = loaded(client, day)
            took.append(time.perf_counter() - begun)
    out.write_text(json.dumps({"seconds": took, "rows": rows["sales"]}), encoding="utf-8")


if __name__ == "__main__":
    main()
