"""A function that is refused a command midway: the server takes nothing back, so the moves must."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from cgjobs import BrokerDenied, Client, JobState
from cgjobs.broker import Sender, moves
from cgjobs.options import JobOptions
from tests.jobs import Note, config, raw, registry

if TYPE_CHECKING:
    from tests.conftest import ServerFactory

HOUR = timedelta(hours=1)


@pytest.fixture
def url(own_server: ServerFactory) -> str:
    """A server with a user who may do everything but GET, which a unique key needs."""
    server = own_server()
    with Client(config(server.url), registry()) as client, raw(server.url) as admin:
        client.load_functions()
        admin.execute_command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "&*", "+@all", "-get")
    return server.url


@pytest.fixture
def narrow(url: str) -> Iterator[Sender]:
    broker: dict[str, Any] = {"username": "narrow", "password": "pw"}
    sender = Sender(attrs.evolve(config(url).redis, **broker))
    yield sender
    sender.close()


def test_a_claim_that_is_refused_midway_loses_no_job(url: str, narrow: Sender) -> None:
    with Client(config(url), registry()) as client, raw(url) as admin:
        ids = [client.enqueue(Note(str(n))).id for n in range(3)]
        ids.append(client.enqueue(Note("unique"), unique="k", unique_until="started").id)
        ids += [client.enqueue(Note(str(n))).id for n in range(4)]

        with pytest.raises(BrokerDenied):
            narrow.send(moves.turn("w", (), {"work": 8}, lease=HOUR, largest=1 << 20))

        assert admin.lrange("rq:queue:work", 0, -1) == ids[3:]
        assert {member.split(":")[1] for member in admin.zrange("cgjobs:leases", 0, -1)} == set(ids[:3])
        states = [client.get(job_id).state for job_id in ids]
        assert states == [JobState.ACTIVE] * 3 + [JobState.WAITING] * 5


def test_an_enqueue_that_is_refused_midway_can_be_sent_again(url: str, narrow: Sender) -> None:
    with Client(config(url), registry()) as client, raw(url) as admin:
        options = [JobOptions(), JobOptions(unique="k"), JobOptions()]
        prepared = [client.operations.new_job(Note(), each) for each in options]
        call = moves.enqueue(new for new, _ in prepared)
        with pytest.raises(BrokerDenied):
            narrow.send(call)
        admin.execute_command("ACL", "SETUSER", "narrow", "+get")

        narrow.send(attrs.evolve(call, commands=call.again))

        waiting = admin.lrange("rq:queue:work", 0, -1)
        assert sorted(waiting) == sorted(new.id for new, _ in prepared)
