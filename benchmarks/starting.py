"""How long it takes from a command to the first answer, and what a worker holds."""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.stack import WORKERS, Stack
from benchmarks.waiting import answers
from service.embedded import ports
from tests.support.deployment import SEALWRIGHT, Deployment
from tests.support.pages import ROOT
from tests.support.processes import resident

_NEEDED = ("Makefile", "pyproject.toml", "requirements", "verifier")
"""What make looks at in the folder where it runs."""


def worker_memory(stack: Stack) -> float:
    """Return the MB of the largest worker, a moment after the load."""
    time.sleep(2)
    return max(map(resident, stack.server.worker_pids())) / 1e6


def seconds_to_serve(deployment: Deployment, starts: int) -> float:
    """Return the median time from `sealwright serve` to a worker that is ready."""

    def start() -> float:
        port = ports.choose()
        command = [*SEALWRIGHT, "serve", "--port", str(port), "--workers", str(WORKERS)]
        return _seconds(command, deployment.env, deployment.directory, port)

    return median(start() for _ in range(starts))


def seconds_to_run(starts: int) -> float:
    """Return the median time of `make run` with nothing there but the virtual environment."""

    def start() -> float:
        port = ports.choose()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SEALWRIGHT_")}  # noqa: TID251  # a child's
        with TemporaryDirectory(prefix="sealwright-run-") as made:
            folder = Path(made)
            for name in _NEEDED:
                (folder / name).symlink_to(ROOT / name)
            command = ["make", f"VENV={ROOT / '.venv'}", f"PORT={port}", "run"]
            return _seconds(command, environment, folder, port)

    # What is out of date there must be made in its own folder.
    subprocess.run(["make", "-s", "setup"], cwd=ROOT, check=True)
    return median(start() for _ in range(starts))


def _seconds(command: list[str], environment: Mapping[str, str], folder: Path, port: int) -> float:
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        answers(port, "/readyz", process)
        return time.monotonic() - began
    finally:
        if process.poll() is None:
            os.killpg(process.pid, SIGTERM)
        process.wait(30)
