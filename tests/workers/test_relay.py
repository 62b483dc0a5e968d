"""Streams, warnings and records of workers, without a worker: what is sent, and where it arrives."""

import io
import logging
import pickle
import re
import sys
import threading
import warnings

import pytest

from lightwork.errors import NotFollowedWarning
from lightwork.workers import relay
from lightwork.workers.framing import Kind
from lightwork.workers.payload import pack, unpack


@pytest.fixture
def sent():
    return []


@pytest.fixture
def worker(sent):
    return relay.Relay(lambda kind, body: sent.append((kind, body)))


def _texts(sent):
    return [unpack(body)[1] for _, body in sent]


def test_lines_travel_whole_and_the_rest_after_the_task(worker, sent):
    raw = relay._Lines(worker, 0)
    raw.write(b"one\ntw")
    raw.write(b"o\nthree")
    raw.write(b" and\r")
    raw.write(b"rest")
    assert _texts(sent) == [b"one\n", b"two\n", b"three and\r"]
    raw.send_rest()
    raw.send_rest()
    assert _texts(sent)[3:] == [b"rest"]


def test_other_threads_leave_the_sending_to_the_main_thread(worker, sent):
    raw = relay._Lines(worker, 1)
    thread = threading.Thread(target=raw.write, args=(b"from a thread\n",))
    thread.start()
    thread.join()
    assert sent == []
    worker.post(Kind.OUTPUT, pack((1, b"main\n")))
    assert _texts(sent) == [b"from a thread\n", b"main\n"]


def test_output_arrives_at_the_stream_that_is_there_now(monkeypatch):
    for number, name in enumerate(["stdout", "stderr"]):
        stream = io.StringIO()
        monkeypatch.setattr(sys, name, stream)
        relay.deliver(Kind.OUTPUT, pack((number, "grüße\n".encode())), "worker 3")
        assert stream.getvalue() == "grüße\n"
        monkeypatch.setattr(sys, name, None)
        relay.deliver(Kind.OUTPUT, pack((number, b"nowhere\n")), "worker 3")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\n", "[w] one\n"),
        ("one\ntwo\n\n", "[w] one\n[w] two\n[w] \n"),
        ("no end", "[w] no end\n"),
        ("one\r\ntwo", "[w] one\r\n[w] two\n"),
        ("10 %\r20 %\r", "[w] 10 %\r[w] 20 %\r"),
        ("a form feed\x0c and \u2028 end no line\n", "[w] a form feed\x0c and \u2028 end no line\n"),
    ],
)
def test_a_name_stands_before_each_line(text, shown):
    assert relay.with_name(text, "w") == shown


def test_a_stream_that_cannot_show_a_letter_shows_its_code(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    relay.deliver(Kind.OUTPUT, pack((0, "ü\n".encode())), "worker 3")
    assert raw.getvalue() == b"\\xfc\n"


class Custom(UserWarning):
    pass


class Unpicklable(UserWarning):
    def __reduce__(self):
        raise TypeError("no")


def test_warnings_arrive_as_themselves(worker, sent):
    worker._warn(Custom("careful"), Custom, "file.py", 7)
    worker._warn(Unpicklable("odd"), Unpicklable, "file.py", 8)
    with warnings.catch_warnings(record=True) as caught:
        for kind, body in sent:
            relay.deliver(kind, body, "worker 3")
    assert [(type(w.message), str(w.message), w.filename, w.lineno) for w in caught] == [
        (Custom, "careful", "file.py", 7),
        (UserWarning, "Unpicklable: odd", "file.py", 8),
    ]


def test_records_arrive_at_the_logger_of_their_name_with_their_text(worker, sent, caplog):
    record = logging.LogRecord("some.name", logging.INFO, "x.py", 3, "%s and %s", ("a", 2), None)
    record.extra = threading.Lock()
    try:
        raise ValueError("bad")
    except ValueError:
        record.exc_info = sys.exc_info()
    worker.log(record)
    with caplog.at_level(logging.INFO, "some.name"):
        relay.deliver(*sent[0], "worker 3")
    (found,) = caplog.records
    assert (found.name, found.getMessage(), found.lineno) == ("some.name", "a and 2", 3)
    assert "ValueError: bad" in found.exc_text


@pytest.fixture
def _state_kept():
    levels = {name: logging.getLogger(name).level for name in ("", "chatty", "quiet")}
    with warnings.catch_warnings():
        yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_state_kept")
def test_filters_and_levels_hold_again_after_a_journey(worker):
    warnings.resetwarnings()
    warnings.filterwarnings("error", "some.*text", Custom, "mod")
    warnings.simplefilter("ignore", (DeprecationWarning, Custom))
    by_hand = ("ignore", "all of it", Custom, re.compile("(?x) mod", re.ASCII), 7)
    warnings.filters.append(by_hand)
    before = list(warnings.filters)
    logging.getLogger("chatty").setLevel(logging.DEBUG)
    logging.getLogger("quiet").setLevel(logging.ERROR)
    told = unpack(pack(relay.surroundings()))
    warnings.resetwarnings()
    logging.getLogger("chatty").setLevel(logging.NOTSET)
    logging.getLogger("quiet").setLevel(logging.DEBUG)
    logging.getLogger("new").setLevel(logging.DEBUG)
    worker.adopt(told)
    logging.root.removeHandler(worker._handler)
    assert warnings.filters[1:] == before
    assert warnings.filters[0][:3] == ("ignore", None, NotFollowedWarning)
    warnings.simplefilter("error")
    worker.put_back()
    assert warnings.filters[1:] == before
    assert [logging.getLogger(name).level for name in ("chatty", "quiet", "new")] == [
        logging.DEBUG,
        logging.ERROR,
        logging.NOTSET,
    ]


@pytest.mark.usefixtures("_state_kept")
def test_a_category_that_nobody_can_import_is_left_out():
    local = type("Local", (UserWarning,), {})
    warnings.resetwarnings()
    warnings.simplefilter("error", local)
    warnings.filters.append(("ignore", 3, Custom, None, 0))
    assert not relay.surroundings()["filters"]
    assert pickle.dumps(relay.surroundings())
