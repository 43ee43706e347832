"""What is built holds what it needs: the migrations travel with the wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def wheel(project: Path, into: Path) -> zipfile.ZipFile:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            into,
            project,
        ],
        check=True,
    )
    (built,) = into.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_servers_wheel_carries_its_migrations_and_its_command(tmp_path: Path) -> None:
    names = wheel(ROOT, tmp_path).namelist()

    migrations = {file.name for file in ROOT.glob("migrations/versions/*.py")}
    assert migrations
    assert migrations <= {
        Path(name).name for name in names if name.startswith("service/_migrations/versions/")
    }
    assert "service/_migrations/env.py" in names
    assert "service/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "sealwright/"))]


def test_the_verifiers_wheel_is_typed_and_alone(tmp_path: Path) -> None:
    names = wheel(ROOT / "verifier", tmp_path).namelist()

    assert "sealwright/py.typed" in names
    assert not [name for name in names if not name.startswith(("sealwright/", "sealwright-"))]


def test_a_database_is_migrated_by_the_wheel_alone(empty_database: str, tmp_path: Path) -> None:
    """The wheel unpacked somewhere, with no checkout to find."""
    wheel(ROOT, tmp_path / "wheel").extractall(tmp_path / "site")
    program = (
        "import sys, service; from service import migrating, schema;"
        "assert service.__file__.startswith(sys.argv[2]); print(migrating.upgrade_now(sys.argv[1])[1])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, empty_database, str(tmp_path)],
        cwd=tmp_path / "site",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == max(file.name[:4] for file in ROOT.glob("migrations/versions/*.py"))
