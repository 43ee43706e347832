"""What `sealwright dev` prints once it is ready: where things are, who there is, and lines to paste."""

from rich.console import Console
from rich.text import Text

from service.cli import demo

_ACCESS = """A=$(echo "$T" | sed 's/.*"access_token": *"\\([^"]*\\).*/\\1/')"""
_REFRESH = """R=$(echo "$T" | sed 's/.*"refresh_token": *"\\([^"]*\\).*/\\1/')"""
_ME = """curl -sw '\\n' $S/me -H "Authorization: Bearer $A\""""


def steps(issuer: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return a first tour, a title and shell lines each: for any POSIX shell with curl and sed."""
    alice, app = demo.ALICE, demo.APP.client_id
    return [
        (
            f"{alice.username} signs in",
            (
                f"S={issuer}",
                f"T=$(curl -s $S/token -d grant_type=password -d client_id={app} \\",
                f'    -d username={alice.username} -d password={demo.PASSWORD}); echo "$T"',
                _ACCESS,
                _REFRESH,
            ),
        ),
        ("who is that", (_ME,)),
        (
            "refresh: both tokens are new",
            (f'T=$(curl -s $S/refresh -d client_id={app} -d refresh_token=$R); echo "$T"', _ACCESS, _REFRESH),
        ),
        ("the keys that resource services verify with", ("curl -sw '\\n' $S/.well-known/jwks.json",)),
        (
            "revoke the session, and see the access token refused",
            (f"curl -sw '%{{http_code}}\\n' $S/revoke -d client_id={app} -d token=$R", _ME),
        ),
    ]


def show(console: Console, issuer: str, version: str) -> None:
    """Print the banner, at most 80 columns wide unless the issuer is long; nothing is wrapped."""
    facts = [
        ("API", f"{issuer}/docs"),
        ("Metadata", f"{issuer}/.well-known/oauth-authorization-server"),
        ("JWKS", f"{issuer}/.well-known/jwks.json"),
        ("Users", ", ".join(f"{user.username} ({user.role})" for user in demo.USERS)),
        ("Password", demo.PASSWORD),
        ("Clients", f"{demo.APP.client_id} (public), {demo.SERVICE.client_id} ({demo.SERVICE.secret})"),
        ("Resource", f"{demo.RESOURCE} ({' '.join(demo.RESOURCE_SCOPES)})"),
    ]
    text = Text()
    text.append("\n  Sealwright ", "bold cyan").append(f"{version} for development at ")
    text.append(f"{issuer}\n\n", "bold")
    for name, fact in facts:
        text.append(f"  {name:<10}", "cyan").append(f"{fact}\n")
    text.append("\n  A first tour, to paste into another terminal:\n", "bold")
    for title, lines in steps(issuer):
        text.append(f"\n  # {title}\n", "dim")
        for line in lines:
            text.append(f"  {line}\n")
    text.append("\n  Ctrl-C stops everything; the data stays in .sealwright/\n", "dim")
    console.print(text, soft_wrap=True)
