"""The server that all other promises on object storage are tested on keeps the one they all rest on."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError

from medallion.delta.conditional_put import require_conditional_put
from medallion.delta.store import DeltaStore
from medallion.object_store import open_store
from tests.fixtures.object_store import ObjectStore

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RACERS = 16
ROUNDS = 300


def test_exactly_one_of_sixteen_racers_creates_an_object_in_every_round(server: ObjectStore) -> None:
    server.bucket("race")
    stores = [open_store("s3://race/keys", server.root) for _ in range(RACERS)]
    winners: Counter[int] = Counter()
    with ThreadPoolExecutor(RACERS) as pool:
        for number in range(ROUNDS):
            start = threading.Barrier(RACERS)

            def creates(racer: int, key: str, start: threading.Barrier = start) -> bool:
                start.wait()
                try:
                    obstore.put(stores[racer], key, bytes([racer]) * 16384, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    return False
                return True

            key = f"{number:08}.json"
            won = [racer for racer, did in enumerate(pool.map(creates, range(RACERS), repeat(key))) if did]
            winners[len(won)] += 1
            assert bytes(obstore.get(stores[0], key).bytes()) == bytes([won[0]]) * 16384
    assert winners == {1: ROUNDS}


def test_the_framework_accepts_it(server: ObjectStore) -> None:
    server.bucket("accepted")
    require_conditional_put(DeltaStore("s3://accepted/lake", server.root))
