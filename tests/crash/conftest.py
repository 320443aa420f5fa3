"""Makes the other tests' parts importable, also in the processes that are killed."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "marketday"), str(Path(__file__).resolve().parent)]
