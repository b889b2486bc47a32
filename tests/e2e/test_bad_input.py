#!/usr/bin/env python3
"""Bad input gets a clear problem+json answer or a closed connection; it never harms or counts.

Goal: unknown paths and methods, oversized heads and bodies, broken bodies, bad ids, half requests,
slow senders, odd chunks and lengths: each is refused in the right way, the server stays healthy,
and of all this nothing is counted.
"""
# timeout: 180
import random
import socket
import time

from harness import (Closed, Connection, Server, body_bytes, event_path, request_bytes, rounds,
                     run, seed)

HEARTBEAT = "/analytics/events/bad/heartbeat"
GOOD = b'{"viewerId":"ada"}'


def problem(answer, *statuses, field=None):
    """The answer is problem+json with one of the statuses and says what is wrong."""
    assert answer.status in statuses, f"{answer}, not {statuses}"
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.headers
    said = answer.json
    assert said["status"] == answer.status, said
    assert said.get("title") and said.get("detail"), said
    if field is not None:
        assert said.get("field") == field, f"{said}, not field {field}"
    return answer


def nothing_counted(server, event="bad"):
    assert server.active(event)[0] == 0, "bad input was counted"
    assert server.attended(event) == 0, "bad input was counted"


def raw(server, data, seconds=10, shut=False):
    """Sends bytes; (answers, closed): the answers that came, and whether the server closed."""
    answers = []
    with server.connect(seconds) as connection:
        try:
            connection.send_raw(data)
            if shut:
                connection.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while True:
                answers.append(connection.receive())
        except (Closed, ConnectionError):
            return answers, True
        except socket.timeout:
            return answers, False


def refused(server, data, *statuses, seconds=10):
    """The bytes end in a refusal with one of the statuses, and the connection is closed."""
    answers, closed = raw(server, data, seconds)
    assert closed, f"{data[:200]!r}: the connection stays open after {answers}"
    assert answers, f"{data[:200]!r}: closed without a word"
    problem(answers[-1], *statuses)
    assert all(answer.status >= 400 for answer in answers), f"{data[:200]!r}: {answers}"
    return answers[-1]


def test_unknown_paths(server):
    """Unknown paths are 404"""
    for path in ("/nothing", "/analytics", "/analytics/", "/analytics/events/bad/nothing",
                 "/analytics/events/bad/heartbeat/", "/analytics/events/bad/heartbeat/more",
                 "/analytics/events//heartbeat", "//analytics/events/bad/heartbeat",
                 "/analytics/events/bad/sessions/s/x", "/Analytics/events/bad/heartbeat",
                 "/analytics/events/bad/sessions/s/heartbeat", "/analytics/events/bad/../bad/live",
                 "/%61nalytics/events/bad/heartbeat", "/healthz/", "/metricsx"):
        problem(server.get(path), 404)
        problem(server.request("POST", path, GOOD), 404)
    nothing_counted(server)


def test_methods(server):
    """A known path with another method is 405 and says what is allowed"""
    for method, path, allowed in (
            ("GET", HEARTBEAT, "POST"), ("PUT", HEARTBEAT, "POST"), ("DELETE", HEARTBEAT, "POST"),
            ("GET", "/analytics/heartbeats", "POST"),
            ("POST", "/analytics/events/bad/viewers/active-count", "GET"),
            ("POST", "/analytics/events/bad/overview", "GET"),
            ("POST", "/healthz", "GET"), ("PATCH", HEARTBEAT, "POST")):
        answer = server.request(method, path, GOOD)
        problem(answer, 405)
        methods = [name.strip() for name in answer.headers["allow"].split(",")]
        assert allowed in methods and method not in methods, (method, path, answer.headers)
    nothing_counted(server)
    refused(server, b"BREW /healthz HTTP/1.1\r\nHost: t\r\n\r\n", 400, 501)


def test_head_and_options(server):
    """HEAD has the length of GET and no body; OPTIONS names the methods"""
    answer = server.request("HEAD", "/analytics/events/bad/viewers/active-count")
    assert answer.status == 200 and int(answer.headers["content-length"]) > 0, answer.headers
    assert server.get("/healthz").status == 200, "bytes were left after HEAD"
    answer = server.request("OPTIONS", HEARTBEAT)
    assert answer.status in (200, 204) and "POST" in answer.headers["allow"], answer.headers


def test_bad_ids_in_paths(server):
    """A bad id in the path is refused with the field's name"""
    for event in ("a b", "a%", "é", "x" * 65, "a/b", "a\x00b", "a\nb", "a+b", "{a}"):
        path = event_path(event)
        for answer in (server.request("POST", path + "/heartbeat", GOOD),
                       server.get(path + "/viewers/active-count"), server.get(path + "/overview")):
            problem(answer, 400, 422)
            assert "event" in answer.json["field"].lower(), (event, answer)
    for session in ("a b", "x" * 65, "é"):
        answer = server.get(event_path("bad", session) + "/viewers/active-count")
        problem(answer, 400, 422)
        assert "session" in answer.json["field"].lower(), (session, answer)
    for viewer in ("x" * 129, "a\x01b", "\x7f", "\x85"):
        answer = server.get("/analytics/events/bad/viewers/" + "".join(
            f"%{byte:02x}" for byte in viewer.encode("utf-8")))
        problem(answer, 400, 422)
        assert "viewer" in answer.json["field"].lower(), (viewer, answer)
    for escaped in ("%ff", "%c0%80", "%ed%a0%80", "%zz", "%4", "%"):
        problem(server.get("/analytics/events/bad/viewers/" + escaped), 400, 422)
    nothing_counted(server)


def test_bad_heartbeat_bodies(server):
    """A bad body is refused, and the answer names the field"""
    for body, field in ((b"{}", "viewerId"), (b'{"viewerId":""}', "viewerId"),
                        (b'{"viewerId":7}', "viewerId"), (b'{"viewerId":null}', "viewerId"),
                        (b'{"viewerId":["a"]}', "viewerId"),
                        (body_bytes({"viewerId": "x" * 129}), "viewerId"),
                        (b'{"viewerId":"a\\u0000b"}', "viewerId"),
                        (b'{"viewerId":"a\\nb"}', "viewerId"),
                        (b'{"viewerId":"a\\u0085b"}', "viewerId"),
                        (b'{"viewerId":"ada","hidden":1}', "hidden"),
                        (b'{"viewerId":"ada","hidden":"true"}', "hidden"),
                        (b'{"viewerId":"ada","leaving":"no"}', "leaving"),
                        (b'{"viewerId":"ada","path":7}', "path")):
        problem(server.request("POST", HEARTBEAT, body), 400, 422, field=field)
    for body in (b"", b"null", b"[]", b"7", b'"ada"', b"{", b'{"viewerId":"ada"', b"viewerId=ada",
                 b'{"viewerId":"ada"}}', b'{"viewerId":"ada"} x', b'{viewerId:"ada"}',
                 b"{'viewerId':'ada'}", b'{"viewerId":"ada",}', b'{"viewerId":"\xff"}',
                 b'\xef\xbb\xbf{"viewerId":"ada"}', b'{"viewerId":"a\nb"}', b'{"viewerId":"\\x"}',
                 b'{"viewerId":"ada","x":01}', b'{"viewerId":"\\ud800"}', b"\x00" * 20,
                 b'{"viewerId":"ada"}\x00', b'{"viewerId":"ada","hidden":tru}',
                 b'{"viewerId":"ada","x":' + b"[" * 4000):
        problem(server.request("POST", HEARTBEAT, body), 400, 422)
    problem(server.request("POST", HEARTBEAT), 400, 411, 422)
    nothing_counted(server)


def test_bad_sessions(server):
    """A session in the path that is no id is refused or taken for none; it never makes one"""
    for path in ("/events/bad/sessions/" + "x" * 65, "/events/bad/sessions/a%20b",
                 "/events/bad/sessions/%", "/events/bad/sessions/", "/sessions/\u00e9"):
        answer = server.request("POST", "/analytics/events/path/heartbeat",
                                {"viewerId": "ada", "path": path})
        assert answer.status in (200, 400, 422), (path, answer)
    assert server.overview("path")["sessions"] == [], server.overview("path")


def test_oversized_heads(server):
    """Oversized heads are refused with 431 or 414"""
    refused(server, b"GET /healthz HTTP/1.1\r\nHost: t\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431)
    refused(server, b"GET /healthz HTTP/1.1\r\nHost: t\r\n" + b"X: y\r\n" * 20000, 431)
    refused(server, b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414, 431)
    refused(server, b"GET /healthz HTTP/1.1\r\nHost: t\r\n" + b"x" * 70000, 431)
    server.healthy()


def test_oversized_bodies(server):
    """Oversized bodies are refused with 413, whether announced or in chunks"""
    big = b'{"viewerId":"ada","x":"' + b"x" * 200000 + b'"}'
    answers, _ = raw(server, request_bytes("POST", HEARTBEAT, big))
    problem(answers[-1], 413)
    head = f"POST {HEARTBEAT} HTTP/1.1\r\nHost: t\r\n".encode()
    refused(server, head + b"Content-Length: 99999999\r\n\r\n", 413)
    refused(server, head + b"Content-Length: 99999999999999999999999999\r\n\r\n", 400, 413)
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    refused(server, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 4, 413)
    refused(server, head + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", 400, 413)
    batch = b"POST /analytics/heartbeats HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999999\r\n\r\n"
    refused(server, batch, 413)
    nothing_counted(server)
    server.healthy()


def test_chunked_bodies(server):
    """A chunked body is read like another one, however it is cut"""
    head = b"POST /analytics/events/chunks/heartbeat HTTP/1.1\r\nHost: t\r\n" \
        b"Transfer-Encoding: chunked\r\n\r\n"
    with server.connect() as connection:
        for number, size in enumerate((1, 2, 5, 100)):
            body = body_bytes({"viewerId": f"viewer-{number}"})
            chunks = b"".join(f"{len(body[at:at + size]):x}\r\n".encode() + body[at:at + size] +
                              b"\r\n" for at in range(0, len(body), size))
            connection.send_raw(head + chunks + b"0\r\n\r\n")
            assert connection.receive().status == 200
        # One byte at a time, and with an extension and a trailer.
        for byte in head + b'12;x="y"\r\n' + GOOD + b"\r\n0\r\nX-Trailer: y\r\n\r\n":
            connection.send_raw(bytes([byte]))
        assert connection.receive().status == 200
    assert server.attended("chunks") == 5
    for bad in (b"zz\r\n", b"-1\r\n", b"12\r\n" + GOOD + b"xx0\r\n\r\n", b" 12\r\n" + GOOD,
                b"0x12\r\n" + GOOD + b"\r\n0\r\n\r\n", b"\r\n", b"12\n" + GOOD + b"\n0\n\n"):
        refused(server, head.replace(b"chunks", b"bad") + bad, 400)
    nothing_counted(server)


def test_lengths(server):
    """Lengths that contradict each other or are no numbers are refused"""
    head = f"POST {HEARTBEAT} HTTP/1.1\r\nHost: t\r\n".encode()
    for lines in (b"Content-Length: 18\r\nContent-Length: 19\r\n",
                  b"Content-Length: 18\r\nContent-Length: 18\r\n",
                  b"Content-Length: 18, 18\r\n", b"Content-Length: -1\r\n",
                  b"Content-Length: +18\r\n", b"Content-Length: 0x12\r\n",
                  b"Content-Length: 1 8\r\n", b"Content-Length:\r\n", b"Content-Length: 18a\r\n",
                  b"Content-Length: 18\r\nTransfer-Encoding: chunked\r\n",
                  b"Transfer-Encoding: chunked\r\nContent-Length: 18\r\n",
                  b"Transfer-Encoding: chunked, chunked\r\n", b"Transfer-Encoding: gzip\r\n",
                  b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding : chunked\r\n",
                  b"Content-Length : 18\r\n", b"Transfer-Encoding: chunked\r\n"
                  b"Transfer-Encoding: identity\r\n"):
        refused(server, head + lines + b"\r\n" + GOOD, 400, 501)
    nothing_counted(server)


def test_malformed_heads(server):
    """Malformed heads are refused"""
    for data in (b"GARBAGE\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n",
                 b"GET\r\n\r\n", b"GET /healthz\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n",
                 b"GET /healthz HTTX/1.1\r\nHost: t\r\n\r\n", b"GET  /healthz HTTP/1.1\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: t\r\nNo colon\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: t\r\n: x\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: t\r\nA b: x\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: t\r\nX: a\x00b\r\n\r\n",
                 b"GET /healthz HTTP/1.1\r\nHost: t\r\nX: a\r\n folded\r\n\r\n",
                 b"GET /healthz HTTP/1.1\nHost: t\n\n",
                 b"GET /healthz HTTP/1.1\r\nHost: t\rX: y\r\n\r\n",
                 b"get /healthz HTTP/1.1\r\nHost: t\r\n\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60):
        refused(server, data, 400, 501, 505)
    server.healthy()


def test_half_requests(server):
    """Requests that end half-way count nothing"""
    whole = request_bytes("POST", HEARTBEAT, GOOD)
    for cut in range(1, len(whole)):
        with server.connect() as connection:
            connection.send_raw(whole[:cut])
            if cut % 3 == 0:
                connection.socket.shutdown(socket.SHUT_WR)
                assert connection.closed_by_server(10), f"cut at {cut}: not closed"
                assert not connection.pending.startswith(b"HTTP/1.1 200"), connection.pending
            elif cut % 3 == 1:
                # A reset instead of an orderly end.
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                             b"\x01\x00\x00\x00\x00\x00\x00\x00")
    server.healthy()
    nothing_counted(server)


def test_bytewise(server):
    """A request that comes byte by byte is answered like any other"""
    with server.connect() as connection:
        for byte in request_bytes("POST", "/analytics/events/bytes/heartbeat", GOOD) * 2:
            connection.send_raw(bytes([byte]))
        assert connection.receive().status == 200
        assert connection.receive().status == 200
    assert server.attended("bytes") == 1


def test_gone_before_the_answer(server):
    """Who goes before the answer comes harms nobody"""
    for _ in range(200):
        connection = server.connect()
        connection.send_raw(request_bytes("POST", "/analytics/events/gone/heartbeat", GOOD) * 5)
        connection.close()
    server.healthy()


def test_never_reading(server):
    """A client that sends and never reads does not hold the server up"""
    connection = Connection(server.address, 2)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        for _ in range(20000):
            connection.send_raw(request_bytes("GET", "/metrics") * 10)
    except (socket.timeout, BrokenPipeError, ConnectionResetError):
        pass
    server.healthy()
    started = time.monotonic()
    server.beat_ok("reading", "ada")
    assert time.monotonic() - started < 5
    connection.close()


def test_pipelined_with_a_bad_one(server):
    """In a pipeline the requests before a bad one are answered, those after it are not"""
    good = request_bytes("POST", "/analytics/events/line/heartbeat", {"viewerId": "before"})
    after = request_bytes("POST", "/analytics/events/line/heartbeat", {"viewerId": "after"})
    answers, closed = raw(server, good * 3 + b"BAD\r\n\r\n" + after)
    assert closed and [answer.status for answer in answers][:3] == [200] * 3, answers
    assert len(answers) == 4, answers
    problem(answers[3], 400, 501)
    assert server.attended("line") == 1
    # A bad body breaks no framing: the connection goes on.
    bad = request_bytes("POST", "/analytics/events/line/heartbeat", b"{")
    with server.connect() as connection:
        connection.send_raw(bad + after)
        assert connection.receive().status == 400
        assert connection.receive().status == 200


def test_connection_close(server):
    """Connection: close is honoured, and HTTP/1.0 closes by itself"""
    for data in (b"GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
                 b"GET /healthz HTTP/1.0\r\n\r\n"):
        answers, closed = raw(server, data)
        assert closed and len(answers) == 1 and answers[0].status == 200, answers
    with server.connect() as connection:
        for _ in range(2):
            connection.send_raw(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert connection.receive().status == 200


def test_expect_continue(server):
    """Expect: 100-continue is answered before the body comes"""
    with server.connect() as connection:
        connection.send_raw(b"POST /analytics/events/expect/heartbeat HTTP/1.1\r\nHost: t\r\n"
                            b"Expect: 100-continue\r\nContent-Length: 18\r\n\r\n")
        connection.read_more()
        assert connection.pending.startswith(b"HTTP/1.1 100"), connection.pending
        connection.send_raw(GOOD)
        assert connection.receive().status == 200


def test_slow_senders():
    """Slow and silent senders are cut off by the timeouts"""
    with Server(header_timeout="500ms", body_timeout="500ms", idle_timeout="700ms") as server:
        started = time.monotonic()
        silent = server.connect()
        head = server.connect()
        body = server.connect()
        idle = server.connect()
        head.send_raw(b"POST /analytics/events/bad/heartbeat HTTP/1.1\r\nHost: t\r\nX")
        body.send_raw(request_bytes("POST", HEARTBEAT, GOOD)[:-1])
        assert idle.request("GET", "/healthz").status == 200
        # Dripping does not help: the time is for the whole head.
        drip = server.connect()
        dripped = 0
        try:
            for byte in b"POST /analytics/events/bad/heartbeat HTTP/1.1\r\nHost: t\r\nX: y" * 10:
                drip.send_raw(bytes([byte]))
                dripped += 1
                time.sleep(0.02)
                assert time.monotonic() - started < 10, "a dripping head is never cut off"
        except (BrokenPipeError, ConnectionResetError):
            pass
        for name, connection in (("silent", silent), ("half head", head), ("half body", body),
                                 ("idle", idle), ("dripping", drip)):
            assert connection.closed_by_server(10), f"{name}: not cut off"
            if connection.pending:
                assert connection.pending.startswith(b"HTTP/1.1 408"), (name, connection.pending)
            connection.close()
        server.healthy()
        nothing_counted(server)


def test_random_bytes(server):
    """Random damage to good requests never crashes the server"""
    choice = random.Random(seed())
    good = [request_bytes("POST", "/analytics/events/noise/heartbeat", GOOD),
            request_bytes("POST", "/analytics/heartbeats",
                          b'{"event":"noise","viewer":"a"}\n{"event":"noise","viewer":"b"}\n'),
            request_bytes("PUT", "/analytics/events/noise/viewers/a", b'{"name":"A","groups":[]}'),
            request_bytes("GET", "/analytics/events/noise/statistics?from=1&to=2")]
    for _ in range(rounds(400)):
        data = bytearray(choice.choice(good))
        for _ in range(choice.randint(1, 6)):
            at = choice.randrange(len(data))
            what = choice.randrange(4)
            if what == 0:
                data[at] = choice.randrange(256)
            elif what == 1:
                del data[at:at + choice.randint(1, 8)]
            elif what == 2:
                data[at:at] = choice.randbytes(choice.randint(1, 8))
            else:
                data[at:at] = choice.choice([b"\r\n", b"\x00", b"%", b'"', b"{", b": ", b"0"])
            if not data:
                data = bytearray(b"x")
        with server.connect() as connection:
            try:
                connection.send_raw(bytes(data))
                connection.socket.shutdown(socket.SHUT_WR)
                assert connection.closed_by_server(10), f"not closed after {bytes(data)!r}"
            except (BrokenPipeError, ConnectionResetError, OSError):
                pass
            if connection.pending:
                assert connection.pending.startswith(b"HTTP/1.1 "), connection.pending[:100]
                assert not connection.pending.startswith(b"HTTP/1.1 500"), bytes(data)
        assert server.running(), f"it crashed at {bytes(data)!r}"
    server.healthy()


def test_caps():
    """What goes over a cap is refused with 429, and what is within it goes on"""
    with Server(events_max=5, sessions_max=3, viewers_max=20) as server:
        statuses = [server.beat(f"event-{number}", "ada").status for number in range(8)]
        assert statuses[:5] == [200] * 5 and set(statuses[5:]) <= {429, 503}, statuses
        statuses = [server.beat("event-0", "ada", f"s-{number}").status for number in range(5)]
        assert statuses == [200] * 3 + [429] * 2, statuses
        statuses = [server.beat("event-1", f"viewer-{number}").status for number in range(25)]
        assert statuses[:19] == [200] * 19 and statuses[19:] == [429] * 6, statuses
        assert server.attended("event-1") == 20
        server.beat_ok("event-0", "ada", "s-0")
        problem(server.beat("event-1", "one-more"), 429)


if __name__ == "__main__":
    run(test_unknown_paths, test_methods, test_head_and_options, test_bad_ids_in_paths,
        test_bad_heartbeat_bodies, test_bad_sessions, test_oversized_heads, test_oversized_bodies,
        test_chunked_bodies, test_lengths, test_malformed_heads, test_half_requests,
        test_bytewise, test_gone_before_the_answer, test_never_reading,
        test_pipelined_with_a_bad_one, test_connection_close, test_expect_continue,
        test_slow_senders, test_random_bytes, test_caps, server=Server())
