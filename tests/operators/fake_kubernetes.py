"""A Kubernetes API server of a few lines, over real HTTP on loopback: pods are kept, and do what a test says.

It refuses what the rights that it was given do not allow, and a pod that is not valid. With ``command_line`` it runs
what a pod's container runs, as a process of this machine.
"""

import datetime as dt
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

from operators import pod_spec

Status = dict

NODE_TIME = "2025-03-03T04:00:00Z"


def pending(*, waiting: str = "", message: str = "", unschedulable: str = "") -> Status:
    """A pod that has not begun: no node has room, or its container waits for a reason."""
    scheduled = {"type": "PodScheduled", "status": "False" if unschedulable else "True", "message": unschedulable}
    state = {"waiting": {"reason": waiting or "ContainerCreating", "message": message}}
    return {
        "phase": "Pending",
        "conditions": [scheduled],
        **({} if unschedulable else {"containerStatuses": [_container(state)]}),
    }


def running() -> Status:
    return {"phase": "Running", "containerStatuses": [_container({"running": {"startedAt": NODE_TIME}})]}


def ended(code: int, message: str = "", *, reason: str = "", **status: object) -> Status:
    """A pod whose process has ended; ``message`` is its termination message."""
    terminated = {
        "exitCode": code,
        "message": message,
        "reason": reason or ("Completed" if code == 0 else "Error"),
        "finishedAt": dt.datetime.now(dt.UTC).isoformat(),
    }
    phase = "Failed" if code or "reason" in status else "Succeeded"
    return {"phase": phase, "containerStatuses": [_container({"terminated": terminated})], **status}


def _container(state: dict) -> dict:
    return {
        "name": pod_spec.CONTAINER,
        "image": "any",
        "imageID": "any",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


class FakeKubernetes:
    """Tests set the attributes below to say what happens to pods."""

    def __init__(self, rights: set[tuple[str, str]]) -> None:
        self.rights = rights  # (resource, verb)
        self.life: list[Status] = [running()]  # of the next pod: each look at it takes it one further
        self.lingering = False  # a deleted pod stays for a while, as one does whose process takes its time
        self.command_line: Callable[[dict], tuple[list[str], dict[str, str]]] | None = None
        self.away = False  # every request is answered 503
        self.created: list[dict] = []
        self.pods: dict[str, dict] = {}
        self.lives: dict[str, list[Status]] = {}
        self.logs: dict[str, str] = {}
        self.deleted: list[str] = []
        self.asked: set[tuple[str, str]] = set()
        self.processes: dict[str, tuple[subprocess.Popen, Path]] = {}
        self.url = ""

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, object]:
        resource, name, subresource = [*path.removeprefix("/api/v1/namespaces/forecasts/").split("/"), "", ""][:3]
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "GET": "get" if name else "list"}[method]
        right = (f"{resource}/{subresource}" if subresource else resource, "watch" if query.get("watch") else verb)
        self.asked.add(right)
        if self.away:
            return failure(503, "the API server is starting")
        if right not in self.rights:
            return failure(403, f"airflow cannot {right[1]} {right[0]}")
        if name and name not in self.pods:
            return failure(404, f'pods "{name}" not found', {"name": name, "kind": "pods"})
        return self.do(right, name, query, body)

    def do(self, right: tuple[str, str], name: str, query: Mapping[str, str], body: bytes) -> tuple[int, object]:
        match right:
            case ("events", "watch"):
                time.sleep(min(float(query["timeoutSeconds"]), 0.05))
                answer: tuple[int, object] = 200, ""
            case ("events", "list"):
                answer = 200, listed("Event", [])
            case ("pods", "create"):
                answer = self.create(json.loads(body))
            case ("pods", "list"):
                answer = 200, listed("Pod", [pod for pod in self.pods.values() if matches(pod, query["labelSelector"])])
            case ("pods/log", "get"):
                answer = 200, self.log(name)
            case ("pods", "delete"):
                answer = 200, self.delete(name)
            case ("pods", "patch"):
                self.pods[name]["metadata"]["labels"] |= json.loads(body)["metadata"]["labels"]
                answer = 200, self.pods[name]
            case _:
                answer = 200, self.read(name)
        return answer

    def create(self, pod: dict) -> tuple[int, object]:
        pod |= {"apiVersion": "v1", "kind": "Pod"}
        try:
            kubernetes_validate.validate(pod, "1.37", strict=True)
        except kubernetes_validate.ValidationError as error:
            return failure(422, str(error))
        name = pod["metadata"]["name"]
        pod["metadata"] |= {"creationTimestamp": NODE_TIME, "uid": name}
        pod["status"] = {"phase": "Pending"}
        self.created.append(pod)
        self.pods[name] = pod
        self.lives[name] = list(self.life)
        if self.command_line:
            self.start(name, pod)
        return 201, pod

    def read(self, name: str) -> dict:
        """Return the pod as it is now; each look at it takes it one further in its life."""
        pod, life = self.pods[name], self.lives[name]
        if name in self.processes:
            process, report = self.processes[name]
            code = process.poll()
            code = code if code is None or code >= 0 else 128 - code
            pod["status"] = running() if code is None else ended(code, report.read_text())
        elif life:
            pod["status"] = life.pop(0)
        return pod

    def log(self, name: str) -> str:
        if name in self.processes:
            return self.processes[name][1].with_suffix(".log").read_text()
        return self.logs.get(name, "")

    def delete(self, name: str) -> dict:
        self.deleted.append(name)
        pod = self.pods[name]
        if name in self.processes:
            process, _ = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        if self.lingering:
            pod["metadata"]["deletionTimestamp"] = NODE_TIME
        else:
            del self.pods[name]
        return pod

    def start(self, name: str, pod: dict) -> None:
        """Run the container's command as a process of this machine, its termination message a file of its own."""
        command, environment = self.command_line(pod)
        report = Path(environment["HOME"]) / f"{name}.json"
        report.touch()
        container = pod["spec"]["containers"][0]
        given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        process = subprocess.Popen(
            [str(report) if word == pod_spec.REPORT else word for word in command],
            env={**os.environ, **given, **environment, "MARKETDAY_JOB_ID": name},
            stdout=report.with_suffix(".log").open("w"),
            stderr=subprocess.STDOUT,
        )
        self.processes[name] = process, report


def matches(pod: dict, selector: str) -> bool:
    labels = pod["metadata"]["labels"]
    for term in selector.split(","):
        if "!=" in term:
            name, value = term.split("!=")
            right = labels.get(name) != value
        elif term.startswith("!"):
            right = term[1:] not in labels
        else:
            name, value = term.split("=")
            right = labels.get(name) == value
        if not right:
            return False
    return True


def listed(kind: str, items: list[dict]) -> dict:
    return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": items}


def failure(code: int, message: str, details: dict | None = None) -> tuple[int, dict]:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return code, {**status, "details": details or {}}


@contextmanager
def serving(kubernetes: FakeKubernetes) -> Iterator[FakeKubernetes]:
    lock = threading.RLock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            at = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = {name: values[0] for name, values in parse_qs(at.query).items()}
            with lock:
                code, data = kubernetes.answer(self.command, at.path, query, body)
            text = (data if isinstance(data, str) else json.dumps(data)).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(data, str) else "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    kubernetes.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield kubernetes
    finally:
        server.shutdown()
        server.server_close()
        for process, _ in kubernetes.processes.values():
            process.kill()
            process.wait()
