"""Resources, roles and clients as a file declares them, for version control: YAML, read strictly."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from service.clients.rules import NotAllowed

MAX_FILE = 4 * 1024 * 1024


def _no_switch(value: object) -> object:
    # YAML reads `yes` and `on` as true, which pydantic would take for one second.
    if isinstance(value, bool):
        raise ValueError("a number of seconds, or ISO 8601: PT10M")  # noqa: TRY004  # pydantic's own protocol
    return value


Span = Annotated[timedelta, Field(strict=False), BeforeValidator(_no_switch)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DeclaredResource(_Declared):
    """A service that accepts tokens."""

    scopes: list[str] = []
    client_id: str | None = None


class DeclaredRole(_Declared):
    """Scopes that users may be granted."""

    scopes: list[str] = []


class DeclaredClient(_Declared):
    """A program that asks for tokens. There is no place for a secret: a file is read by many."""

    name: str | None = None
    public: bool = False
    disabled: bool | None = None
    """None leaves it as it is: whoever shuts a client out in an emergency is not overruled by a file."""
    first_party: bool = False
    grant_types: list[str] = []
    scopes: list[str] = []
    default_scopes: list[str] = []
    resources: list[str] = []
    default_resources: list[str] = []
    introspect_any: bool = False
    origins: list[str] = []
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    secret_sha256: list[Digest] | None = Field(None, min_length=1, max_length=2)
    """None leaves the secrets to `sealwright clients secret`; a new client that needs one gets one made."""
    refresh_grace: Span | None = None
    access_token_lifetime: Span | None = None
    refresh_token_idle: Span | None = None
    session_lifetime: Span | None = None


class Declared(_Declared):
    """A file. A part that is not there is left alone, by `--prune` too; one that is empty names nothing."""

    resources: dict[str, DeclaredResource] | None = None
    roles: dict[str, DeclaredRole] | None = None
    clients: dict[str, DeclaredClient] | None = None


def read(text: str) -> Declared:
    """Read a file.

    Raises:
        NotAllowed: with a line for each thing that is wrong with it, saying where.
    """
    if len(text) > MAX_FILE:
        raise NotAllowed("The file is larger than 4 MiB")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repetition(node)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise NotAllowed(f"{where}this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotAllowed(f"This is not YAML: {type(error).__name__}") from None
    # `shop:` with nothing behind it is a client of whom nothing is said.
    for part in ("resources", "roles", "clients"):
        if isinstance(value, dict) and part in value:
            items = value[part] or {}
            value[part] = {k: v or {} for k, v in items.items()} if isinstance(items, dict) else items
    try:
        return Declared.model_validate(value if value is not None else {})
    except ValidationError as error:
        raise NotAllowed("\n".join(_lines(error, node))) from None


def _lines(error: ValidationError, node: yaml.Node | None) -> Iterator[str]:
    for one in error.errors(include_url=False, include_input=False):
        said = {"extra_forbidden": "there is no such setting"}.get(one["type"], one["msg"])
        path = [part for part in one["loc"] if part != "[key]"]
        where = ".".join(map(str, path)) or "the file"
        yield f"line {_line(node, path)}: {where}: {said.removeprefix('Value error, ')}"


def _line(node: yaml.Node | None, path: Iterable[str | int]) -> int:
    line = 0 if node is None else node.start_mark.line
    for part in path:
        match node, part:
            case yaml.MappingNode(), str():
                pairs = [(key, value) for key, value in node.value if key.value == part]
                if not pairs:
                    break
                line, node = pairs[0][0].start_mark.line, pairs[0][1]
            case yaml.SequenceNode(), int() if part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line
            case _:
                break
    return line + 1


def _refuse_repetition(node: yaml.Node | None) -> None:
    """Refuse a name that stands twice in one mapping: YAML 1.2 3.2.1.3 forbids it, and the loader takes the last.

    Also references, by which a small file can grow beyond all bounds.
    """
    seen: set[int] = set()

    def walk(node: yaml.Node) -> None:
        if id(node) in seen:
            raise yaml.MarkedYAMLError(problem="references (*) are not taken", problem_mark=node.start_mark)
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                walk(item)
        elif isinstance(node, yaml.MappingNode):
            names: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value in names:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value!r} stands twice", problem_mark=key.start_mark
                    )
                names.add(key.value)
                walk(value)

    if node is not None:
        walk(node)


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the members that differ, with both values. The order of a list means nothing."""
    return {
        name: (before.get(name), value)
        for name, value in after.items()
        if _comparable(before.get(name)) != _comparable(value)
    }


def _comparable(value: object) -> object:
    return frozenset(value) if isinstance(value, list) else value
