"""Airflow on a laptop: SQLite, four processes on loopback, secrets made once and kept in the home folder.

The components are started one by one rather than by `airflow standalone`: it stands ready in 9 s instead of 16 s and
needs 0.7 GB instead of 1.0 GB, because nobody needs its parent process and its two log servers.
"""

import base64
import importlib.metadata
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from marketday.errors import SettingsError

USER = "admin"
COMMANDS = {
    "api-server": ["api-server", "--workers", "1"],
    # The API server reads the logs from the same folder, so neither has to serve them.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}

PATIENCE = {"triggerer": 3.0}
"""Seconds that a component gets to stop, where not the usual: Airflow 3.3's triggerer waits ten for a child that is
long gone. Nothing is lost with it, because what it watches is in the database."""


def command(component: str) -> list[str]:
    """Return the command line of one component."""
    return [sys.executable, "-m", "airflow", *COMMANDS[component]]


def migration() -> list[str]:
    """Return the command line that makes or migrates the database."""
    return [sys.executable, "-m", "airflow", "db", "migrate"]


def is_migrated(folder: Path) -> bool:
    """Whether the database in Airflow's home is there and was migrated by this very version."""
    mark = _migration_mark(folder)
    return (folder / "airflow.db").exists() and mark.exists() and mark.read_text(encoding="utf-8") == _version()


def note_migrated(folder: Path) -> None:
    """Remember that the database fits this version: asking Airflow itself would cost 4 s at every start."""
    _migration_mark(folder).write_text(_version(), encoding="utf-8")


def environment(folder: Path, *, url: str, service_url: str) -> dict[str, str]:
    """Return the environment of Airflow's processes: ours, with what is set outside (``AIRFLOW__*``) taking precedence.

    Raises:
        SettingsError: there is no folder of DAGs.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _password_file(folder)
    port = url.rsplit(":", 1)[1]
    chosen = {
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path("dags").resolve()),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path("plugins").resolve()),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__FERNET_KEY": _secret(folder / "fernet.key", _fernet_key),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(folder / "jwt.key", lambda: secrets.token_urlsafe(64)),
        "AIRFLOW__API__SECRET_KEY": _secret(folder / "session.key", lambda: secrets.token_urlsafe(64)),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",  # 0.3 to 0.5 s per task in a chain, not 1.2 to 1.5 s
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    fixed = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW_CONN_MARKETDAY_SERVICE": service_url,
        "MARKETDAY_SERVICE_URL": service_url,
        "MARKETDAY_AIRFLOW_URL": url,
    }
    env = {**chosen, **os.environ, **fixed}
    dags = Path(env["AIRFLOW__CORE__DAGS_FOLDER"])
    if not dags.is_dir():
        raise SettingsError(f"There is no folder of DAGs at {dags}", hint="Start from the project's folder.")
    return env


def password(folder: Path) -> str:
    """Return the password of ``USER``; empty where no embedded Airflow was started yet."""
    path = folder / "passwords.json"
    return str(json.loads(path.read_text(encoding="utf-8"))[USER]) if path.exists() else ""


def _password_file(folder: Path) -> None:
    # Made here, because Airflow would print the password that it makes to its log.
    _secret(folder / "passwords.json", lambda: json.dumps({USER: secrets.token_urlsafe(12)}))


def _secret(path: Path, make: Callable[[], str]) -> str:
    """Return the file's content; made once, readable by its owner only."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(make())
    return path.read_text(encoding="utf-8")


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _migration_mark(folder: Path) -> Path:
    return folder / "migrated-to"


def _version() -> str:
    return importlib.metadata.version("apache-airflow")
