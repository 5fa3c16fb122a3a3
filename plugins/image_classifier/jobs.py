"""Work in the background: how far it is, and the MLDB procedures that it runs."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mldb import mldb

known: dict[str, "Job"] = {}


@dataclass
class Job:
    """Work under way. ``state``: working, ready or failed; ``part`` is how much of ``step`` is done."""

    id: str
    state: str = "working"
    step: str = "pictures"
    part: float = 0.0
    error: str = ""


class Refused(Exception):
    """What cannot be done: ``str`` tells the user why, ``code`` is the answer's."""

    def __init__(self, text: str, code: int = 400) -> None:
        super().__init__(text)
        self.code = code


def start(job: Job, work: Callable[..., None], *arguments: Any) -> Job:
    """Begin in a thread of its own. What fails is told by the job: nobody waits for the thread."""
    if job.id in known and known[job.id].state == "working":
        raise Refused("it is still at work", 409)
    known[job.id] = job

    def perform() -> None:
        try:
            work(job, *arguments)
            job.state, job.step, job.part = "ready", "ready", 1.0
        except Exception as error:
            job.state, job.error = "failed", str(error)
            mldb.log(f"Image classifier: {job.id} failed at '{job.step}': {error}")

    threading.Thread(target=perform, daemon=True).start()
    return job


def run(job: Job, step: str, type: str, params: dict[str, Any]) -> Any:
    """Run a procedure to its end, its progress being the job's; the run's status."""
    job.step, job.part = step, 0.0
    path = f"/v1/procedures/{job.id}_{step}"
    mldb.put(path, {"type": type, "params": {**params, "runOnCreation": False}})
    run = json.loads(mldb.perform("POST", f"{path}/runs", [], {}, [["async", "true"]])["response"])
    while True:
        answer = mldb.get(f"{path}/runs/{run['id']}").json()
        if answer["state"] in ("finished", "error", "cancelled"):
            break
        steps = answer.get("progress", {}).get("steps", [])
        job.part = max([job.part, *(step["value"] for step in steps if step.get("type") == "percentile")])
        time.sleep(0.1)
    mldb.perform("DELETE", path)
    if answer["state"] != "finished":
        raise RuntimeError(json.dumps(answer.get("progress", answer)))
    return answer.get("status")
