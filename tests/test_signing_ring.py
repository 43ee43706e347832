"""The ring in memory: what it signs, what it publishes, and what it never gives away."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import jwt
import pytest

from sealwright import Algorithm, KeySet, verify_signed
from service.settings import KeySettings
from service.signing import KeyRing, Policy, TokenType, signer
from tests.support import ring

NOW = datetime.now(UTC).replace(microsecond=0)
POLICY = Policy.of(KeySettings())
PAYLOAD = json.dumps({"sub": "ünïcode"}).encode()


def made(keys_dir: Path, algorithm: Algorithm = "ES256") -> KeyRing:
    ring.generate(keys_dir, algorithm, NOW)
    return ring.load(keys_dir, POLICY, NOW)


@pytest.mark.parametrize("typ", get_args(TokenType))
@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_what_it_signs_can_be_verified_from_its_jwks(
    tmp_path: Path, algorithm: Algorithm, typ: TokenType
) -> None:
    one = made(tmp_path, algorithm)
    token = one.sign(typ, PAYLOAD, NOW.timestamp())

    keys = KeySet.from_jwks(one.jwks)
    assert verify_signed(token, keys, typ=typ, algorithms=[algorithm]) == json.loads(PAYLOAD)
    # Another reader of the same RFCs agrees.
    [jwk] = json.loads(one.jwks)["keys"]
    decoded = jwt.PyJWS().decode_complete(token, jwt.PyJWK(jwk), algorithms=[algorithm])
    assert decoded["payload"] == PAYLOAD
    assert decoded["header"] == {"alg": algorithm, "typ": typ, "kid": one.active_kid(NOW.timestamp())}


def test_one_snapshot_changes_over_by_itself_and_signs_for_ever(tmp_path: Path) -> None:
    old = made(tmp_path).active_kid(0)
    new = ring.rotate(tmp_path, "ES256", POLICY, NOW)
    one = ring.load(tmp_path, POLICY, NOW)
    assert new.signs_from is not None
    change = new.signs_from.timestamp()

    kids = [
        jwt.get_unverified_header(one.sign("at+jwt", b"{}", now))["kid"]
        for now in (0.0, change - 0.001, change, change + 1e6)
    ]

    assert kids == [old, old, new.kid, new.kid]
    assert one.changes_at == change


def test_the_jwks_has_the_next_key_before_it_signs_and_the_retired_one_until_its_end(tmp_path: Path) -> None:
    first = made(tmp_path)
    second = ring.generate(tmp_path, "ES256", NOW)
    with_next = ring.load(tmp_path, POLICY, NOW)
    rotated = ring.rotate(tmp_path, "ES256", POLICY, NOW)
    assert rotated.signs_from is not None
    end = rotated.signs_from + POLICY.published_for

    old = first.active_kid(0)
    assert set(with_next.published) == {old, second.kid}
    assert set(ring.load(tmp_path, POLICY, end - timedelta(seconds=1)).published) == {old, second.kid}
    gone = ring.load(tmp_path, POLICY, end)
    assert set(gone.published) == {second.kid}
    assert set(gone.known) == {old, second.kid}


def test_the_jwks_holds_public_members_only(tmp_path: Path) -> None:
    rsa = made(tmp_path, "RS256")
    ring.generate(tmp_path, "EdDSA", NOW)
    members = [set(jwk) for jwk in json.loads(ring.load(tmp_path, POLICY, NOW).jwks)["keys"]]

    assert members == [
        {"kty", "n", "e", "use", "alg", "kid"},
        {"kty", "crv", "x", "use", "alg", "kid"},
    ]
    assert rsa.jwks.isascii()


def test_the_etag_is_strong_and_changes_with_the_bytes_alone(tmp_path: Path) -> None:
    one = made(tmp_path)
    again = ring.load(tmp_path, POLICY, NOW + timedelta(days=1))
    rotation = ring.rotate(tmp_path, "ES256", POLICY, NOW)
    before = ring.load(tmp_path, POLICY, NOW)
    after = ring.load(tmp_path, POLICY, rotation.signs_from or NOW)

    assert one.etag.startswith('"')
    assert (one.jwks, one.etag) == (again.jwks, again.etag)
    # Who signs is nobody's business but the issuer's: the change-over empties no cache.
    assert (before.jwks, before.etag) == (after.jwks, after.etag)
    assert before.etag != one.etag


def test_a_private_key_cannot_be_printed_pickled_or_copied(tmp_path: Path) -> None:
    one = made(tmp_path, "RS256")
    pem = next(tmp_path.glob("*.pem")).read_text()

    assert not any(line in repr(one) for line in pem.splitlines())
    assert "_signers" not in repr(one)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="stays where it is"):
            take(one._signers[0][1])  # noqa: SLF001
    with pytest.raises(TypeError):
        pickle.dumps(one)


def test_kids_are_thumbprints_that_no_command_takes_for_an_option() -> None:
    kids = [signer.make("ES256")[0].kid for _ in range(300)]

    assert not any(kid.startswith("-") for kid in kids)
    assert {len(kid) for kid in kids} == {43}
