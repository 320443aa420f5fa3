"""Threads that wait do not spin: other processes share the cores with a training."""

import os
import subprocess
import sys


def test_the_threads_of_the_model_let_go_of_their_cores_while_they_wait():
    chosen = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", "import marketday.models.gbm"]
    done = subprocess.run(command, env=chosen | {"OMP_DISPLAY_ENV": "true"}, capture_output=True, text=True, check=True)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
