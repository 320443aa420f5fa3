"""The embedded platform: the step service and Airflow on this machine, started and stopped in one place.

What runs is written to ``HOME/platform.json``, so that every other command finds it, and a platform whose owner was
killed is cleared away before the next one starts. A lock that the owner holds keeps two from starting at once.
"""

import fcntl
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from marketday.embedded import airflow
from marketday.embedded.platform import Platform, record, record_path, recorded
from marketday.embedded.processes import PATIENCE, Session, held_port, launch, stop, tail
from marketday.errors import ServiceError, SettingsError
from marketday.settings import Settings

Tell = Callable[[str, float], None]
"""Called several times a second with what is waited for and the seconds since the start."""

_START_SECONDS = 180.0
_POLL_SECONDS = 0.25
_GRACE = "3"
"""Seconds that running jobs get to end at a stop, where the environment does not say: somebody waits at a terminal."""


def running(settings: Settings) -> Platform | None:
    """Return the platform that runs in ``settings.home``, or None."""
    platform = recorded(settings.home)
    if platform is None or not all(session.leads() for session in platform.sessions):
        return None
    return None if platform.missing() else platform


def addresses(settings: Settings) -> Settings:
    """Return ``settings`` with the addresses of this home's platform, else with those that the environment names.

    Raises:
        ServiceError: none runs in this home, and the environment names none.

    """
    found = running(settings)
    if found is not None:
        return found.settings(settings)
    require(settings, "service_url")
    return settings


def require(settings: Settings, *addresses: str) -> None:
    """Refuse addresses that nobody has chosen: on the default ports may be the platform of another home, or user.

    Raises:
        ServiceError: the environment does not set them all.

    """
    if not settings.model_fields_set.issuperset(addresses):
        variables = " and ".join(f"MARKETDAY_{address.upper()}" for address in addresses)
        raise ServiceError(
            f"No platform is up in {settings.home.resolve()}",
            hint="Start one with `marketday up` in another shell (`marketday run` can do so itself: --embedded), "
            f"or set {variables} to where one runs.",
        )


def credentials(settings: Settings) -> tuple[str, str]:
    """Return user and password for Airflow: as set in the environment, else those of the embedded Airflow."""
    if given := settings.airflow_password.get_secret_value():
        return settings.airflow_user, given
    return airflow.USER, airflow.password(_airflow_home(settings))


@contextmanager
def started(settings: Settings, tell: Tell) -> Iterator[Platform]:
    """Use the platform that runs, or start one and stop it at the end, whatever happens; none of it survives.

    Raises:
        SettingsError: another process is starting or stopping the platform in this home, or there is no folder of DAGs.
        ServiceError: it does not get up; shows the log of what failed.

    """
    with _lock(settings.home) as ours:
        if not ours:
            yield _somebody_elses(settings)
            return
        sessions: list[Session] = []
        # TERM and HUP end us as Ctrl-C does, through every `finally`.
        with _signals(_interrupt, signal.SIGTERM, signal.SIGHUP), ExitStack() as held:
            try:
                yield _start(settings, sessions, tell, held)
            finally:
                # A second Ctrl-C while processes are being stopped would leave some behind.
                with _signals(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    stop(sessions)
                    record_path(settings.home).unlink(missing_ok=True)


def _somebody_elses(settings: Settings) -> Platform:
    found = running(settings)
    if found is None:
        raise SettingsError(
            f"Another process is starting or stopping the platform in {settings.home}",
            hint="Wait until it is up (then it is used) or gone, or set MARKETDAY_HOME to another folder.",
        )
    return found


def _start(settings: Settings, sessions: list[Session], tell: Tell, held: ExitStack) -> Platform:
    """Start everything and wait until it is healthy.

    ``sessions`` grows with each process, for the caller to stop; the ports are ours until the caller closes ``held``.
    """
    home = settings.home.resolve()
    leftover = recorded(home)
    if leftover is not None:
        stop(leftover.sessions)
    began = time.monotonic()
    platform = Platform(
        airflow_url=f"http://127.0.0.1:{held.enter_context(held_port(settings.airflow_url))}",
        service_url=f"http://127.0.0.1:{held.enter_context(held_port(settings.service_url))}",
        sessions=(),
    )
    env = _environment(settings, platform)

    def begin(name: str, command: list[str], patience: float = PATIENCE) -> Session:
        session = launch(name, command, env=env, log=home / "logs" / f"{name}.log", patience=patience)
        sessions.append(session)
        record(home, platform, sessions)
        return session

    from marketday.service import migrations  # noqa: PLC0415  costs a third of a second that only a start should pay

    migrations.migrate(settings.jobs_database)
    service_port = platform.service_url.rsplit(":", 1)[1]
    begin(
        "step-service", [sys.executable, "-m", "marketday.cli", "serve", "--host", "127.0.0.1", "--port", service_port]
    )
    if not airflow.is_migrated(_airflow_home(settings)):
        migration = begin("airflow-migration", airflow.migration())
        _wait_for_end(migration, began, tell)
        sessions.remove(migration)
        airflow.note_migrated(_airflow_home(settings))
    for component in airflow.COMMANDS:
        begin(f"airflow-{component}", airflow.command(component), airflow.PATIENCE.get(component, PATIENCE))
    platform = Platform(airflow_url=platform.airflow_url, service_url=platform.service_url, sessions=tuple(sessions))
    _wait_for_health(platform, began, tell)
    return platform


def _wait_for_end(session: Session, began: float, tell: Tell) -> None:
    while session.leads():
        _sleep("preparing Airflow's database", began, tell, [session])
    if session.process is None or session.process.wait() != 0:
        raise ServiceError("Airflow's database could not be prepared", evidence=tail(session.log))


def _wait_for_health(platform: Platform, began: float, tell: Tell) -> None:
    while missing := platform.missing(timeout=1.0):
        platform.check()
        _sleep(f"starting {missing[0]}", began, tell, platform.sessions)
    platform.check()  # what answers may be somebody else's, on a port that ours did not get


def _sleep(what: str, began: float, tell: Tell, sessions: Sequence[Session]) -> None:
    seconds = time.monotonic() - began
    if seconds > _START_SECONDS:
        raise ServiceError(
            f"Gave up {what} after {seconds:.0f} s",
            hint="Look at the logs; a machine this slow may need more memory.",
            evidence="\n".join(tail(session.log) for session in sessions),
        )
    tell(what, seconds)
    time.sleep(_POLL_SECONDS)


def _environment(settings: Settings, platform: Platform) -> dict[str, str]:
    env = airflow.environment(_airflow_home(settings), url=platform.airflow_url, service_url=platform.service_url)
    env["MARKETDAY_HOME"] = str(settings.home.resolve())
    env["MARKETDAY_RETAILERS"] = str(settings.retailers.resolve())
    env["MARKETDAY_DATA"] = str(settings.data.resolve())
    env.setdefault("MARKETDAY_SERVICE_GRACE", _GRACE)
    return env


def _airflow_home(settings: Settings) -> Path:
    return (settings.home / "airflow").resolve()


@contextmanager
def _lock(home: Path) -> Iterator[bool]:
    """Be the only one who starts or stops a platform in ``home``, or say that another is; it dies with its process."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "platform.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _signals(
    handler: Callable[[int, FrameType | None], None] | signal.Handlers, *which: signal.Signals
) -> Iterator[None]:
    """Answer signals differently for a while; only the main thread may, and elsewhere they do not arrive."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sig: signal.signal(sig, handler) for sig in which}
    try:
        yield
    finally:
        for sig, former in before.items():
            signal.signal(sig, former)
