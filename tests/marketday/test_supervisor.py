"""The supervisor: actors start in order, are restarted with back-off, stop in reverse, and signals end it all."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from marketday.errors import ServiceError
from marketday.service.http import HttpServer
from marketday.service.supervisor import Patience, Supervisor

BRISK = Patience(look=0.02, pause=0.02, failures=3, calm=60.0)
PATIENCE = 60.0


class Part:
    """An actor that writes down what is done with it, and is as healthy as it is told to be."""

    def __init__(self, name, story, ailments=()):
        self.name = name
        self.story = story
        self.ailments = list(ailments)
        self.starts = []

    def start(self):
        self.story.put(f"start {self.name}")
        self.starts.append(time.monotonic())
        if self.ailments and isinstance(self.ailments[0], Exception):
            raise self.ailments.pop(0)

    def healthy(self):
        return self.ailments.pop(0) if self.ailments and isinstance(self.ailments[0], str) else None

    def stop(self):
        self.story.put(f"stop {self.name}")


def told(story):
    return [story.get_nowait() for _ in range(story.qsize())]


def interrupt_when(condition):
    """Send this process SIGTERM as soon as the condition holds, or it would never end."""

    def wait():
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def run(*parts, until, patience=BRISK, hurry=None):
    interrupt_when(until)
    Supervisor(parts, hurry or threading.Event(), patience).run()


@pytest.fixture
def story():
    return queue.SimpleQueue()


def test_actors_start_in_order_and_stop_in_reverse_at_a_signal(story):
    one, two = Part("one", story), Part("two", story)
    before = signal.getsignal(signal.SIGTERM)
    run(one, two, until=lambda: two.starts)
    assert told(story) == ["start one", "start two", "stop two", "stop one"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_actor_that_is_not_healthy_is_restarted_alone(story):
    one, two = Part("one", story), Part("two", story, ["ill"])
    run(one, two, until=lambda: len(two.starts) == 2)
    assert told(story) == ["start one", "start two", "stop two", "start two", "stop two", "stop one"]


def test_every_further_failure_in_a_row_doubles_the_pause_before_the_next_start(story):
    part = Part("part", story, ["ill", RuntimeError("cannot start"), "ill again"])
    run(part, until=lambda: len(part.starts) == 4, patience=replace(BRISK, pause=0.1))
    pauses = [after - before for before, after in zip(part.starts, part.starts[1:], strict=False)]
    assert pauses[0] >= 0.1
    assert pauses[1] >= 0.2
    assert pauses[2] >= 0.4


def test_too_many_failures_in_a_row_stop_everything_and_say_what_failed(story):
    one, two = Part("one", story), Part("two", story, ["ill", RuntimeError("no port"), "ill", "the third time"])
    with pytest.raises(ServiceError, match="its two failed 4 times in a row, at last because the third time"):
        Supervisor([one, two], threading.Event(), BRISK).run()
    assert told(story)[-2:] == ["stop two", "stop one"]


def test_an_actor_that_stayed_healthy_long_enough_has_made_good_its_failures(story):
    part = Part("part", story, ["ill"] * 3)
    done = threading.Event()

    def relapse():
        if len(part.starts) == 4 and time.monotonic() - part.starts[-1] > 0.2 and not part.ailments:
            part.ailments = ["ill"]
            done.set()
        return done.is_set() and len(part.starts) == 5

    run(part, until=relapse, patience=replace(BRISK, calm=0.05))
    assert len(part.starts) == 5


def test_an_actor_that_fails_at_its_first_start_ends_those_before_it_and_the_start(story):
    one, two = Part("one", story), Part("two", story, [ValueError("not like this")])
    with pytest.raises(ValueError, match="not like this"):
        Supervisor([one, two, Part("three", story)], threading.Event(), BRISK).run()
    assert told(story) == ["start one", "start two", "stop two", "stop one"]


def test_an_actor_that_does_not_stop_does_not_keep_the_others_from_it(story):
    class Stubborn(Part):
        def stop(self):
            super().stop()
            raise RuntimeError("never")

    stubborn = Stubborn("two", story)
    run(Part("one", story), stubborn, until=lambda: stubborn.starts)
    assert told(story)[-2:] == ["stop two", "stop one"]


def test_a_second_signal_hurries_what_is_being_stopped(story):
    hurry = threading.Event()

    class Slow(Part):
        def stop(self):
            os.kill(os.getpid(), signal.SIGINT)
            assert hurry.wait(PATIENCE)
            super().stop()

    slow = Slow("slow", story)
    run(slow, until=lambda: slow.starts, hurry=hurry)
    assert told(story) == ["start slow", "stop slow"]


_GIVES_UP = """
import threading
from marketday.service.supervisor import Patience, Supervisor
class Broken:
    name = "part"
    def start(self): threading.Thread(target=threading.Event().wait, daemon=True).start()
    def healthy(self): return "it is broken"
    def stop(self): print("stopped", flush=True)
Supervisor([Broken()], threading.Event(), Patience(look=0.01, pause=0.01, failures=2)).run()
"""


def test_the_process_of_a_supervisor_that_gives_up_ends_with_an_error():
    done = subprocess.run(
        [sys.executable, "-c", _GIVES_UP], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "because it is broken" in done.stderr


_NEVER_STOPS = """
import threading
from marketday.service.supervisor import Supervisor
class Stubborn:
    name = "part"
    def start(self): print("started", flush=True)
    def healthy(self): return None
    def stop(self):
        print("stopping", flush=True)
        hurry.wait()
        print("hurrying", flush=True)
        threading.Event().wait()
hurry = threading.Event()
Supervisor([Stubborn()], hurry).run()
"""


def test_a_third_signal_ends_a_process_that_does_not_stop():
    command = [sys.executable, "-c", _NEVER_STOPS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for word in ("started", "stopping", "hurrying"):
            while word not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGTERM


def _app():
    app = FastAPI()
    app.add_api_route("/", lambda: "here")
    return app


def test_the_http_server_answers_again_on_its_port_after_its_thread_has_died(story):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server = HttpServer(_app(), listener)
        answers = []

        def kill_once_and_ask():
            if not server._server.started:
                return False
            with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
                answers.append(client.get(url).json())
                first = server._thread
                server._server.should_exit = True
                first.join(PATIENCE)
                answers.append(client.get(url).json())  # waits in the port's queue for the restart
            return True

        run(server, until=kill_once_and_ask)
        assert answers == ["here", "here"]
        assert not server._thread.is_alive()


def test_an_http_server_whose_event_loop_is_stuck_is_not_healthy(monkeypatch):
    monkeypatch.setattr("marketday.service.http._STUCK_SECONDS", 2.0)
    release = threading.Event()

    async def block():
        release.wait(PATIENCE)

    app = _app()
    app.add_api_route("/block", block)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = HttpServer(app, listener)
        server.start()
        assert server.healthy() is None
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/block"
        blocked = threading.Thread(target=httpx.get, args=(url,), kwargs={"timeout": PATIENCE, "trust_env": False})
        blocked.start()
        deadline = time.monotonic() + PATIENCE
        while (why := server.healthy()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "event loop has not turned" in why
        release.set()
        blocked.join()
        server.stop()
