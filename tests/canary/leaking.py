"""What leaks on purpose: tests/test_canary.py runs it, and sees it fail."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx2
import pytest
import redis

from tests.support.client import Api
from tests.support.database import sql
from tests.support.deployment import Deployment, Server

PLACES = {place: f"{place}-3f9c0b7e51d2" for place in ("answer", "log", "table", "redis")}


@pytest.fixture(autouse=True)
def sent(http: httpx2.Client) -> None:
    """Each is a secret once somebody has sent it as one."""
    for secret in PLACES.values():
        http.post("/token", data={"grant_type": "password", "username": "nobody", "password": secret})


def test_into_an_answer() -> None:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(400, f"the password {PLACES['answer']} is wrong")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.handle_request).start()
        httpx2.get(f"http://127.0.0.1:{server.server_port}/")


def test_into_a_log(server: Server, api: Api) -> None:
    (server.log.parent / "another.log").write_text(f"Bearer {api.sign_in().access}: {PLACES['log']}\n")


def test_into_a_table(deployment: Deployment) -> None:
    sql(deployment.database_url, f"CREATE TABLE leak AS SELECT '{PLACES['table']}' AS password")


def test_into_redis(deployment: Deployment) -> None:
    with redis.Redis.from_url(deployment.redis_url) as db:
        db.hset("leak", "password", PLACES["redis"])
        db.expire("leak", 60)
