"""Every command in the documentation runs: README.md, docs/*.md and the pages beside the code.

How to write a block:

- ```sh is what a reader pastes. All ```sh blocks of a page run in order, in one shell, against real servers and a
  deployment of the page's own, with the demo of `make run` in it. The shell stops at the first command that fails.
  It stands in an empty folder; `sealwright`, `python`, PostgreSQL's programs and the SEALWRIGHT_ variables are there.
- http://localhost:8000 in it is the running service (on another port, really), and the `iss` of its tokens.
- A ```text right after it is what it prints, both streams, as a terminal shows them; … stands for anything. Without
  one, it may print what it likes.
- What cannot run in a test gets a line of its own right above the fence, `<!-- not run: the reason -->`. Its syntax
  and the names of our commands are still checked.
- `<!-- file: NAME -->` above a fence of another language puts the block into that file, for the commands to use.
- Other languages (python, yaml, mermaid, console, …) are not run. A fence without a language is not allowed.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.embedded.binaries import postgres_binary
from tests.support.deployment import Deployment, Server, drop_database, new_database
from tests.support.pages import PAGES, blocks, end_of, pattern, script, shown_after, title, to_run

HERE = "http://localhost:8000"
"""Where a page's service runs; a reader with another port writes another one."""

RUN = [page for page in PAGES if to_run(page)]

SHELL = shutil.which("bash") or "sh"
# A failing command says where it stands; bash alone knows how, and any shell stops.
TRAP = "" if SHELL == "sh" else "trap 'echo \"failed at line $LINENO\" >&2' ERR; "


@pytest.fixture
def page_deployment(server_urls: tuple[str, str], tmp_path: Path) -> Iterator[tuple[Deployment, Server]]:
    """A deployment that a page may do anything with."""
    url = new_database(server_urls[0])
    made = Deployment(url, server_urls[1], tmp_path / "deployment", HERE)
    made.prepare()
    with made.serving(workers=1) as server:
        yield made, server
    drop_database(server_urls[0], url)


@pytest.mark.parametrize("page", RUN, ids=title)
def test_what_a_page_tells_to_run_runs_and_answers_what_it_shows(
    page: Path, page_deployment: tuple[Deployment, Server], tmp_path: Path
) -> None:
    deployment, server = page_deployment
    folder = tmp_path / "reader"
    folder.mkdir()
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text.replace(f"{HERE}/", f"{server.url}/"))

    said = run(script(page), folder, deployment, server, title(page))

    for block in to_run(page):
        output, ended, said = said.partition(f"{end_of(block)}\n")
        assert ended, f"{title(page)}: the block of line {block.line} did not end:\n{output}"
        shown = shown_after(page).get(block.line)
        assert shown is None or re.fullmatch(pattern(shown), output.strip(), re.DOTALL), (
            f"{title(page)}: the block of line {block.line} shows\n{shown}and answered\n{output}"
        )


def run(lines: str, folder: Path, deployment: Deployment, server: Server, page: str) -> str:
    """Run a page's lines, and say at which of them it failed."""
    programs = [Path(sys.executable).parent, postgres_binary("psql").parent]
    path = os.pathsep.join([*map(str, programs), deployment.env["PATH"]])
    # The first line is the page's first as well, so that the shell counts as the page does.
    done = subprocess.run(
        [SHELL, "-c", f"set -eu; {TRAP}exec 2>&1; {lines}".replace(HERE, server.url), page],
        cwd=folder,
        env={**deployment.env, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"{page}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_block_says_its_language_and_every_shell_line_is_one(page: Path) -> None:
    assert not re.search(r"^[ \t]+```", page.read_text(), re.MULTILINE), "an indented fence is not looked at"
    for block in blocks(page):
        where = f"{title(page)}, line {block.line}"
        assert block.language, f"{where}: say the language of the block, or text"
        if block.language == "sh":
            checked = subprocess.run(
                [SHELL, "-n"], input=block.text, capture_output=True, text=True, timeout=20, check=False
            )
            assert checked.returncode == 0, f"{where}: {checked.stderr}"


def test_a_command_that_fails_is_told_by_its_page_and_line(
    deployment: Deployment, server: Server, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```sh\ntrue\nfalse\n```\n")

    with pytest.raises(AssertionError, match=r"docs/page.md: exit 1\n *failed at line 5"):
        run(script(page), tmp_path, deployment, server, "docs/page.md")
