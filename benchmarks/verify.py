"""What verifying costs a resource service, as ratios of a bare RSA verification on the same machine.

`make bench-verify`. Nothing imports this; it prints a table.
"""

import asyncio
import gc
import json
import resource
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from rich.console import Console
from rich.table import Table

from sealwright import Options, Verifier
from sealwright._revocations import read_answer
from sealwright.testing import Issuer

TOKENS = 2000
REVOKED = 100_000
ROTATIONS = 1000
ROUNDS = 5


def cost(work: Callable[[str], object], tokens: Sequence[str]) -> float:
    """Return the microseconds of CPU that one token takes, the median of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for token in tokens:
            work(token)
        rounds.append((time.process_time() - began) / len(tokens) * 1e6)
    return statistics.median(rounds)


def bare(key: rsa.RSAPrivateKey) -> Callable[[str], object]:
    """Return a bare verification of one signature over 600 bytes, a token's length."""
    message = b"m" * 600
    signature = key.sign(message, padding.PKCS1v15(), SHA256())
    public, pkcs1, sha256 = key.public_key(), padding.PKCS1v15(), SHA256()
    return lambda _: public.verify(signature, message, pkcs1, sha256)


def feed_of(issuer: Issuer, count: int) -> bytes:
    """Return a snapshot with so many revoked tokens, as the feed would send it."""
    now = time.time()
    entries = [
        {"jti": f"{n:08x}-6c1f-4d7a-9c55-3f1e2d4b5a69", "exp": int(now) + 60 + n % 900, "reason": "revoked"}
        for n in range(count)
    ]
    members = {"issuer": issuer.url, "snapshot": True, "cursor": "1", "seen_at": now, "now": now}
    return json.dumps({**members, "revocations": entries}, separators=(",", ":")).encode()


def tokens_of(issuer: Issuer, count: int) -> list[str]:
    """Return tokens as the service makes them."""
    return [issuer.token(scope="orders:read orders:write", roles=["editor"]) for _ in range(count)]


async def verification(count: int = 200) -> tuple[float, float]:
    """Return the microseconds of a bare RSA verification, and of a token's first."""
    key = rsa.generate_private_key(65537, 2048)
    issuer = Issuer(private_key=key)
    tokens = tokens_of(issuer, count)
    async with issuer.verifier(options=Options(signatures=0)) as first:
        return cost(bare(key), tokens), cost(first.verify, tokens)


async def main() -> None:
    """Measure, and print the table."""
    key = rsa.generate_private_key(65537, 2048)
    issuer = Issuer(private_key=key)
    tokens = tokens_of(issuer, TOKENS)
    table = Table("what", "µs", "in bare RSA verifications")

    def row(what: str, microseconds: float) -> None:
        table.add_row(what, f"{microseconds:.1f}", f"{microseconds / floor:.2f}")

    floor = cost(bare(key), tokens)
    row("a bare RSA-2048 verification", floor)
    async with issuer.verifier(options=Options(signatures=0)) as first:
        row("a token, the first time", cost(first.verify, tokens))
        take(first, issuer, REVOKED)
        row(f"the same with {REVOKED:,} revocations in force", cost(first.verify, tokens))
    async with issuer.verifier() as again:
        cost(again.verify, tokens)
        row("the same token again", cost(again.verify, tokens))
        began, held, peak = take(again, issuer, REVOKED)
        row(f"the same with {REVOKED:,} revocations in force", cost(again.verify, tokens))
    Console().print(table)
    print(f"snapshot of {REVOKED:,} revocations: read and held in {began:.2f} s,", end=" ")
    print(
        f"{held / REVOKED:.0f} bytes each, {held / 2**20:.0f} MiB in all, {peak / 2**20:.0f} MiB at the peak"
    )
    print(await rotations())
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB resident at most")


def take(verifier: Verifier, issuer: Issuer, count: int) -> tuple[float, int, int]:
    """Give a verifier a snapshot; return the seconds that it took, and the bytes held and needed meanwhile."""
    body = feed_of(issuer, count)
    feed = verifier._feed  # noqa: SLF001  # what it costs without the network
    assert feed is not None
    began = time.perf_counter()
    feed.take(read_answer(body, issuer.url))
    seconds = time.perf_counter() - began
    gc.collect()
    tracemalloc.start()
    feed.take(read_answer(body, issuer.url))
    gc.collect()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return seconds, held, peak


async def rotations() -> str:
    """Rotate under constant verification; a single refusal ends in an exception."""
    issuer = Issuer(algorithm="EdDSA")
    verified, done = 0, False
    progress = asyncio.Event()

    async def verify(verifier: Verifier) -> None:
        nonlocal verified
        while not done:
            await verifier.authenticate(issuer.token())
            verified += 1
            progress.set()
            await asyncio.sleep(0)

    options = Options(algorithms=("EdDSA",), key_pause=0.001)
    async with issuer.verifier(options=options) as verifier:
        workers = [asyncio.create_task(verify(verifier)) for _ in range(8)]
        for _ in range(ROTATIONS):
            issuer.rotate(keep=16)
            progress.clear()
            await progress.wait()
        done = True
        await asyncio.gather(*workers)
    return f"{ROTATIONS:,} key rotations, {verified:,} tokens verified meanwhile, none refused"


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit()
