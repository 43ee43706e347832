"""What the pages say is true: tables are the code's, links lead somewhere. test_docs.py runs their lines."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from service.app import build
from service.board import Board
from service.cli import app as cli
from service.cli.settings import plain
from service.settings import PREFIX, Settings
from tests.support.client import Api
from tests.support.deployment import Deployment, Server
from tests.support.pages import PAGES, ROOT, blocks, prose, title

README = ROOT / "README.md"

HERE = "http://localhost:8000"
"""Where README's service runs; a reader with another PORT writes another one."""

_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?!\w+://)([^)#\s]*)(?:#([^)\s]+))?\)")


def rows(page: Path, first_heading: str) -> list[list[str]]:
    """The rows of the tables of a page whose first column has this heading."""
    found: list[list[str]] = []
    inside = False
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if cells and cells[0] == first_heading:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(cells[0]) <= {"-"}:
            found.append(cells)
    return found


def test_the_snippet_verifies_a_token_and_refuses_what_is_none(
    api: Api, server: Server, tmp_path: Path
) -> None:
    [snippet] = [block.text for block in blocks(README) if block.language == "python"]
    program = tmp_path / "orders.py"
    # The issuer's name stays: the tests' service has README's, on another port.
    at = f'issuer="{HERE}",\n    internal_url="{server.url}",'
    program.write_text(snippet.replace(f'issuer="{HERE}",', at))

    def run(token: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, program, token], capture_output=True, text=True, timeout=20, check=False
        )

    tokens = api.sign_in()
    accepted, refused = run(tokens.access), run(tokens.refresh)
    api.revoke(tokens.access)
    revoked = run(tokens.access)

    assert accepted.stdout == f"{tokens.claims['sub']} may account orders:read orders:write\n"
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("401 invalid_token: type")
    assert (revoked.returncode, revoked.stdout) == (1, "")
    assert revoked.stderr.startswith("401 invalid_token: revoked")


def test_the_lines_for_a_real_deployment_make_one(
    server_urls: tuple[str, str], empty_database: str, tmp_path: Path
) -> None:
    made = Deployment(empty_database, server_urls[1], tmp_path, HERE)
    lines = [
        shlex.split(line, comments=True)
        for block in blocks(README)
        if block.not_run
        for line in joined(block.text).splitlines()
        if line.startswith("sealwright ")
    ]
    assert ["sealwright", "serve", "--workers", "4"] in lines

    for _, *words in lines:
        if words[:2] == ["users", "add"]:
            made.cli(*words, "--password-stdin", stdin="correct horse battery staple\n")
        elif words[0] != "serve":
            made.cli(*words)
    with made.serving(workers=1) as own, httpx2.Client(base_url=own.url, timeout=20) as http:
        tokens = Api(http).sign_in("bob", "correct horse battery staple", client_id="shop")

    assert tokens.body["scope"] == "account orders:read"
    assert tokens.claims["aud"] == [HERE, "https://orders.example.com"]
    assert tokens.claims["roles"] == ["buyer"]


def joined(text: str) -> str:
    """The lines of a shell, continued ones made one."""
    return re.sub(r"\\\n\s*", "", text)


def test_the_table_of_endpoints_is_the_openapi_document(deployment: Deployment) -> None:
    opened = {"registration": "open", "self_deletion": "on", "metrics_token": "anything of some length"}
    everything = build(deployment.having(**opened).settings, Board())
    written = [_CODE.findall(cells[0])[0] for cells in rows(README, "method and path")]
    paths: dict[str, dict[str, Any]] = everything.openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}

    assert sorted(written) == sorted(served)


def test_the_required_variables_are_those_of_the_settings() -> None:
    required = {PREFIX + name.upper() for name, field in Settings.model_fields.items() if field.is_required()}
    tabled = [cells for cells in rows(README, "variable") if len(cells) == 2]

    assert {_CODE.findall(name)[0] for name, _ in tabled} == required


def test_the_defaults_are_those_of_the_settings() -> None:
    tabled = [cells for cells in rows(README, "variable") if len(cells) == 3]

    assert tabled
    for variable, default, _ in tabled:
        field = Settings.model_fields[variable.strip("`").removeprefix(PREFIX).lower()]
        assert default == f"`{plain(field.default)}`", variable


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_variable_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", page.read_text()))

    assert named <= {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    in_prose = [code for code in _CODE.findall(prose(page)) if code.startswith("sealwright ")]
    # An indented line is code as well.
    in_blocks = re.findall(r"^ *(sealwright [a-z].*)$", joined(page.read_text()), re.MULTILINE)

    for line in [*in_prose, *in_blocks]:
        assert unknown(shlex.split(line, comments=True)[1:]) is None, line


def test_the_table_of_commands_is_the_command_line() -> None:
    tabled = []
    for cells in rows(README, "command"):
        # `sealwright users add`, `list`: the others are of the first one's group.
        first, *others = _CODE.findall(cells[0])
        *group, command = first.split()[1:]
        tabled += [" ".join([*group, name]) for name in (command, *others)]

    assert sorted(tabled) == sorted(commands(root()))


@cache
def root() -> Any:
    return get_command(cli)


def commands(group: Any, *before: str) -> list[str]:
    """Every command that does something, by its words."""
    if not isinstance(group, TyperGroup):
        return [" ".join(before)]
    return [words for name, sub in group.commands.items() for words in commands(sub, *before, name)]


def unknown(words: list[str]) -> str | None:
    """The first word of a command line that the command does not know, if there is one."""
    command = root()
    for word in words:
        if word.startswith("-") and word != "-":  # which is stdin, an argument
            options = {option for parameter in command.params for option in parameter.opts}
            if word.partition("=")[0] not in options | {"--help"}:
                return word
        elif isinstance(command, TyperGroup):
            if word not in command.commands:
                return word
            command = command.commands[word]
    return None


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert unknown(["keys", "rotate"]) is None
    assert unknown(["sessions", "why", "-"]) is None
    assert unknown(["keys", "forge"]) == "forge"
    assert unknown(["serve", "--wrokers", "4"]) == "--wrokers"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for path, anchor in _LINK.findall(prose(page)):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in headings(target), f"{path}#{anchor}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    # `sessions/rotation.py` is in service/, or beside the page; a path that begins with a slash is a URL's.
    named = [
        code
        for code in _CODE.findall(prose(page))
        if re.fullmatch(r"\w[\w.-]*(/[\w.-]+)*(/|\.py|\.md)", code) and code not in MADE
    ]

    for path in named:
        assert any((place / path).exists() for place in (ROOT, ROOT / "service", page.parent)), path


MADE = {".sealwright/", "main.py", "orders.py", "NNNN-title.md", "app.py", "verifying.py"}
"""Files that come into being when one does what the pages say."""


def test_every_decision_has_its_four_parts_and_stands_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    pages = sorted(folder.glob("[0-9]*.md"))

    assert len({page.name[:4] for page in pages}) == len(pages), "a number is given twice"
    for page in pages:
        parts = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences", "Alternatives"], page.name
        assert f"({page.name})" in index


def test_the_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", README.read_text(), re.MULTILINE))

    assert {first or second for first, second in named} <= targets
