import subprocess
import sys
from importlib import resources
from inspect import ismodule

import sealwright


def test_all_names_what_the_package_offers_and_no_more() -> None:
    offered = {
        name for name, value in vars(sealwright).items() if not name.startswith("_") and not ismodule(value)
    }
    assert offered | set(sealwright._LOADED_LATER) == set(sealwright.__all__)
    assert sorted(sealwright.__all__) == sealwright.__all__


def test_what_is_loaded_later_is_there() -> None:
    for name in sealwright._LOADED_LATER:
        assert getattr(sealwright, name).__name__ == name


def test_the_package_is_typed() -> None:
    assert resources.files(sealwright).joinpath("py.typed").is_file()


def test_nothing_but_cryptography_is_needed_to_verify() -> None:
    program = (
        "import sys; before = set(sys.modules); import sealwright;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    answer = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert {name for name in answer.stdout.split() if not name.startswith("_")} == {
        "cryptography",
        "sealwright",
    }
