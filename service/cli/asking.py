"""How commands are told secrets: by a hidden prompt or on stdin, never by an argument.

Arguments are seen by everybody on the machine (ps), and stay in the shell's history.
"""

import sys
from typing import Annotated

import typer

from service.cli import output
from service.http import is_text

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin, one line, without a prompt.")
]

_MAX = 1024 * 1024


def new_password(name: str, *, from_stdin: bool) -> str:
    """Return a password for `name`: the line on stdin, else typed twice unseen."""
    if from_stdin:
        return line()
    if not sys.stdin.isatty():
        output.fail("There is no terminal to ask on: pipe the password in, with --password-stdin.")
    return _checked(_prompted(f"New password for {name}", twice=True))


def token(*, from_stdin: bool) -> str:
    """Return a token: what is piped in, whole, else what is pasted unseen."""
    if from_stdin or not sys.stdin.isatty():
        return "".join(_decoded(sys.stdin.buffer.read(_MAX)).split())
    return _prompted("Token", twice=False).strip()


def consent(question: str, *, option: str) -> None:
    """Go on only if a person says yes; `option` says so where there is no terminal."""
    if not sys.stdin.isatty():
        output.fail(f"There is no terminal to ask on: if you are sure, give {option}.")
    if not typer.confirm(question, err=True):
        output.fail("Nothing was done.")


def line() -> str:
    """Return the line on stdin."""
    text = _decoded(sys.stdin.buffer.readline(_MAX)).removesuffix("\n").removesuffix("\r")
    if not text:
        output.fail("There is nothing on stdin: pipe in a line that holds the secret.")
    return _checked(text)


def _checked(secret: str) -> str:
    # No request could carry it.
    if not is_text(secret):
        output.fail("There is a control character in it; leave that out.")
    return secret


def _prompted(what: str, *, twice: bool) -> str:
    answer: str = typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    return answer


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        output.fail("What is on stdin is not UTF-8 text.")
