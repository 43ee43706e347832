"""Stopping without a request lost: first nobody new is sent here, then it stops."""

import asyncio
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

from starlette.types import Message, Send


class Drain:
    """Puts a pause between SIGTERM and the server's own orderly end.

    In it /readyz says that this replica is going, so that whoever spreads the load turns to others, while
    every request is still answered; each answer closes its connection.
    """

    def __init__(self, delay: timedelta) -> None:
        self.begun = False
        self._delay = delay.total_seconds()

    def take_over(self, ending: Callable[[], None]) -> None:
        """Take SIGTERM from the server that runs this process, and pass it on after the pause.

        `ending` is called just before: the server then waits for requests that wait for something themselves.
        Does nothing where nobody handles the signal.
        """
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler) or threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()

        def end(number: int, frame: FrameType | None) -> None:
            ending()
            handler(number, frame)

        def begin(number: int, frame: FrameType | None) -> None:
            # A second one changes nothing: a supervisor may signal the workers and their parent alike.
            if not self.begun:
                self.begun = True
                loop.call_soon_threadsafe(loop.call_later, self._delay, end, number, frame)

        signal.signal(signal.SIGTERM, begin)

    def closing(self, send: Send) -> Send:
        """Return a `send` whose answer closes its connection."""

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return send_and_close
