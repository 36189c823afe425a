"""`pintail.Producer` against real servers that are killed: every row once, in order, and nothing after a newer start."""

import pintail
import pyarrow as pa
import pytest
from test_module import batch, server, value  # noqa: F401 - a fixture


def test_a_producer_goes_on_across_kills_of_the_server():
    batches, kills = 600, 5
    with pintail.Server() as server:
        with pintail.Producer(server.uri, "readings", producer="pump-7", buffer_bytes=1 << 20) as producer:
            for n in range(batches):
                assert producer.send(batch(n)) == n
                if n % 100 == 50 and n // 100 < kills:
                    # Batches are on their way; some of them may be stored and not acknowledged.
                    server.kill()
                    assert producer.lag.batches > 0
                    server.start()
            durable = producer.flush(60)
            assert durable == pintail.Durable(batches - 1, batches * 1000) and producer.lag.batches == 0
        assert value(server, "SELECT count(*) FROM readings") == batches * 1000
        assert value(server, "SELECT count(DISTINCT id) FROM readings") == batches * 1000


def test_the_next_start_goes_on_and_shuts_the_earlier_one_out(server):
    earlier = pintail.Producer(server.uri, "fenced", producer="pump")
    earlier.send(batch(0))
    earlier.flush(30)
    with pintail.Producer(server.uri, "fenced", producer="pump", schema=batch(0).schema) as later:
        assert later.next_seq == 1 and later.epoch > earlier.epoch
        earlier.send(batch(1))
        with pytest.raises(pintail.Fenced, match="another instance has taken over"):
            earlier.flush(30)
        with pytest.raises(pintail.Fenced):
            earlier.close()
        with pytest.raises(pintail.Fenced):
            pintail.Producer(server.uri, "fenced", producer="pump", epoch=1)
        later.send(batch(1))
    assert value(server, "SELECT count(DISTINCT id) FROM fenced") == 2000 == value(server, "SELECT count(*) FROM fenced")


def test_a_start_that_was_overtaken_before_its_first_batch_says_so(server):
    """Without a schema the older one is shut out only then, and has stored what this one would number anew."""
    earlier = pintail.Producer(server.uri, "overtaken", producer="pump")
    later = pintail.Producer(server.uri, "overtaken", producer="pump")
    assert later.next_seq == 0
    earlier.send(batch(0))
    earlier.close(30)
    later.send(batch(7))
    with pytest.raises(pintail.Error, match="open it again") as overtaken:
        later.flush(30)
    later.abandon()
    assert overtaken.value.code == "FAILED_PRECONDITION" and value(server, "SELECT max(id) FROM overtaken") == 999


def test_a_refusal_is_final_and_told(server):
    pintail.load({"id": ["text"]}, "texts", uri=server.uri)
    producer = pintail.Producer(server.uri, "texts", producer="numbers")
    producer.send({"id": [1.5]})
    with pytest.raises(pintail.Error, match="column \"id\"") as refused:
        producer.flush(30)
    assert refused.value.code == "INVALID_ARGUMENT" and producer.lag.last_error is refused.value
    with pytest.raises(pintail.Error, match="column \"id\""):
        producer.send({"id": [2.5]})
    producer.abandon()


def test_a_producer_is_bounded_and_gives_up():
    with pintail.Server() as server:
        producer = pintail.Producer(server.uri, "t", producer="p", buffer_bytes=20_000, give_up=1)
        server.kill()
        producer.send(batch(0))
        producer.send(batch(1))
        with pytest.raises(TimeoutError, match="the buffer of 20,000 bytes was full"):
            producer.send(batch(2), timeout=0.1)
        with pytest.raises(pintail.Error, match="nothing got through for 1 s") as gave_up:
            producer.flush(30)
        assert gave_up.value.code == "UNAVAILABLE" and producer.lag.rows == 2000
        producer.abandon()
        with pytest.raises(pintail.Error, match="nothing got through for 0.2 s"):
            pintail.Producer(server.uri, "t", producer="p", give_up=0.2)


def test_other_columns_are_refused_before_they_are_sent(server):
    with pintail.Producer(server.uri, "columns", producer="p") as producer:
        producer.send(batch(0))
        with pytest.raises(ValueError, match="expected the columns id int64, found id string"):
            producer.send({"id": ["a"]})
        # A number without rows is one as well: the source has nothing at that place.
        assert producer.send(batch(0).slice(0, 0)) == 1 and producer.send(pa.table({"id": pa.array([], pa.int64())})) == 2
    assert value(server, "SELECT count(*) FROM columns") == 1000


def test_an_exception_in_the_block_does_not_wait(server):
    with pytest.raises(KeyError):
        with pintail.Producer(server.uri, "broken", producer="p") as producer:
            producer.send(batch(0))
            raise KeyError("mine")
    with pytest.raises(pintail.Error, match="closed"):
        producer.send(batch(1))
    with pintail.Producer(server.uri, "broken", producer="p", schema=batch(0).schema) as again:
        for n in range(again.next_seq, 2):
            again.send(batch(n))
    assert value(server, "SELECT count(DISTINCT id) FROM broken") == 2000 == value(server, "SELECT count(*) FROM broken")
