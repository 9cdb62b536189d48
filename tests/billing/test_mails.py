"""A mail that could not be sent is sent later, once, and alone; what is no error of sending fails at once."""

import os
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import invitations, mails, orgs
from billing.models import Organization, Role, User
from oxygen_site.jobs import TRIES, defer
from oxygen_site.postgres import CLONE
from tests.conftest import person


class Post(socketserver.ThreadingTCPServer):
    """A mail server that refuses each address as often as it is told to."""

    daemon_threads = True

    def __init__(self, refuse: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.refuse = Counter(refuse)
        self.asked: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()


class Conversation(socketserver.StreamRequestHandler):
    server: Post

    def handle(self) -> None:
        addresses: list[str] = []
        self.say("220 post")
        while line := self.rfile.readline().decode():
            match line[:4].upper():
                case "RCPT":
                    address = line.partition("<")[2].partition(">")[0]
                    self.server.asked[address] += 1
                    if self.server.asked[address] <= self.server.refuse[address]:
                        self.say("450 not now")
                    else:
                        addresses.append(address)
                        self.say("250 yes")
                case "DATA":
                    self.say("354 go on")
                    while self.rfile.readline() not in (b".\r\n", b""):
                        pass
                    self.server.delivered.update(addresses)
                    self.say("250 taken")
                case _:
                    self.say("250 yes")

    def say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@pytest.fixture
def post() -> Iterator[Post]:
    with Post({"ada@oxygen.example": 1, "max@oxygen.example": 100, "guest@oxygen.example": 1}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def a_worker(post: Post) -> Iterator[None]:
    """A worker that sends its mail there."""
    env = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(post.server_address[1])}
    with subprocess.Popen([sys.executable, "manage.py", "work"], cwd=CLONE, env=os.environ | env) as process:
        try:
            yield
        finally:
            process.kill()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, states()
        time.sleep(0.1)


def states() -> list[tuple[str, int]]:
    """Of each mail that is not sent: how it stands, and how often it was tried."""
    ours = (mails.send.name, mails.send_invitation.name)
    return sorted(ProcrastinateJob.objects.filter(task_name__in=ours).values_list("status", "attempts"))


def make_the_next_try_the_last() -> None:
    with connection.cursor() as cursor:
        wait = "status = 'todo' AND scheduled_at > now()"
        cursor.execute(f"UPDATE procrastinate_jobs SET scheduled_at = now(), attempts = %s WHERE {wait}", [TRIES - 1])


def test_a_mail_that_was_refused_comes_later_and_once(
    fresh_database: str, acme: Organization, alice: User, post: Post
) -> None:
    for name in ("Ada", "Max"):
        orgs.add_member(acme, person(name), Role.ADMIN)
    mails.tell(acme, "low", "Add credits.")
    invitations.invite(acme, "guest@oxygen.example", Role.MEMBER, by=alice)
    defer(mails.send, to=str(alice.pk), subject="a line\nand another", words="")

    with a_worker(post):
        until(lambda: states() == [("failed", 1), *[("todo", 1)] * 3])  # only what is no error of sending failed
        assert post.delivered == {"alice@oxygen.example": 1}
        make_the_next_try_the_last()
        until(lambda: states() == [("failed", 1), ("failed", TRIES)])

    assert post.delivered == {f"{name}@oxygen.example": 1 for name in ("alice", "ada", "guest")}
