"""The client_credentials grant (RFC 6749 4.4): no user, no session, nothing to look up."""

import time

from service.clients.directory import Client
from service.grants.answer import Parts, token_answer
from service.grants.requests import ClientCredentialsRequest
from service.grants.scope import audience, check_known, granted
from service.tokens import Access


def grant(parts: Parts, client: Client, request: ClientCredentialsRequest) -> dict[str, object]:
    """Issue an access token whose `sub` is the client itself (RFC 9068 2.2)."""
    directory = parts.directory.current
    aud = audience(request.asked, client, directory)
    check_known(request.asked.scope, directory)
    scope = granted(request.asked.scope, client, directory.understood(frozenset(aud)), None)
    access = Access(sub=client.id, client_id=client.id, client_epoch=client.epoch, audience=aud, scope=scope)
    lifetime = parts.minter.lifetime(client.access_token_lifetime)
    return token_answer(parts.minter.access_token(access, time.time(), lifetime), lifetime, scope)
