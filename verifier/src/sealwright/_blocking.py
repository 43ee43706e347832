"""A Verifier for programs without an event loop: one thread follows keys and revocations, any thread asks."""

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self

from sealwright._claims import Claims
from sealwright._errors import Unavailable
from sealwright._metrics import Health
from sealwright._verifier import FeedStale, UnknownKey, Verifier

_PATIENCE = 30.0  # seconds; every question to the issuer has a shorter bound of its own


class BlockingVerifier:
    """Takes what `Verifier` takes, or a Verifier that nobody has started.

    `with BlockingVerifier(…) as verifier`, or `start()` and `close()`. Start it in each worker process: threads
    do not outlive a fork, so not in a process that forks afterwards.
    """

    def __init__(self, *arguments: Any, verifier: Verifier | None = None, **settings: Any) -> None:
        if verifier is not None and (arguments or settings):
            raise TypeError(
                "give it a Verifier or what one is made of, not both: the settings would be ignored"
            )
        self._verifier = verifier or Verifier(*arguments, **settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0

    def start(self) -> None:
        """Start the thread, and wait for keys and revocations as `Verifier.start` does.

        Raises:
            ConfigurationError: the issuer was reached, and a setting does not fit it.
            RuntimeError: it has been started already.

        """
        if self._loop is not None:
            raise RuntimeError("this BlockingVerifier has been started already, here or before a fork")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="sealwright", daemon=True)
        self._process = os.getpid()
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._verifier.start(), self._loop).result()
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Stop following, and end the thread."""
        if self._loop is not None and self._process == os.getpid():
            asyncio.run_coroutine_threadsafe(self._verifier.close(), self._loop).result()
            self._end()

    def verify(self, token: str) -> Claims:
        """Return the claims of a good token. Asks the issuer, and waits, only where `Verifier.authenticate` would.

        Raises:
            InvalidToken: the token is bad, or has been revoked.
            Unavailable: it cannot be told now; answer 503.
            RuntimeError: it has not been started, or not in this process.

        """
        loop = self._loop
        if loop is None or self._process != os.getpid():
            raise RuntimeError("start the BlockingVerifier first, in each worker process")
        try:
            return self._verifier.verify(token)
        except (UnknownKey, FeedStale):
            answer = asyncio.run_coroutine_threadsafe(self._verifier.authenticate(token), loop)
        try:
            return answer.result(timeout=_PATIENCE)
        except TimeoutError:
            answer.cancel()
            raise Unavailable("the issuer takes too long") from None
        except CancelledError:
            raise Unavailable("the BlockingVerifier was closed meanwhile") from None

    def health(self) -> Health:
        """Return the same as `Verifier.health`."""
        return self._verifier.health()

    def metrics(self) -> str:
        """Return the same as `Verifier.metrics`."""
        return self._verifier.metrics()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def _end(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop = self._thread = None
