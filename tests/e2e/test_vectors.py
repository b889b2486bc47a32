#!/usr/bin/env python3
"""Public test vectors, sent to the real server.

Goal: JSON texts that must be refused are refused as heartbeat bodies, and those that must be
accepted are accepted as a member of one; HTTP requests that llhttp's own suite refuses are
refused, and those it accepts are answered.  The folder with the vectors is not part of the
repository: without it this skips.
"""
# timeout: 180
import glob
import json
import os
import re
import socket

import harness
from harness import Closed, Server, Skip, run

JSON_FOLDER = os.path.join(harness.VECTORS, "json", "test_parsing")
HTTP_FOLDER = os.path.join(harness.VECTORS, "llhttp")
BODY_BYTES_MAX = 8192

# The reviewed list of what llhttp accepts and Novabeat refuses stands in the unit test.
UNIT_TEST = os.path.join(harness.TOP, "tests", "unit", "http", "test_vectors.c")
# After these llhttp stops to let another protocol take over; Novabeat goes on with HTTP.
PAUSES = re.compile(r"error code=2[12]\b")
REFUSALS = (400, 414, 417, 431, 501, 505)


def status_of(server, body):
    with server.connect() as connection:
        try:
            connection.send("POST", "/analytics/events/vectors/heartbeat", body)
            return connection.receive().status
        except (BrokenPipeError, ConnectionResetError):
            return connection.receive().status


def strict_json(text):
    """True when it is JSON for a second reader too: Python's, made strict."""
    def refuse(name):
        raise ValueError(name)

    try:
        json.loads(text.decode("utf-8"), parse_constant=refuse)
        return True
    except (ValueError, RecursionError):
        return False


def json_files():
    files = sorted(glob.glob(os.path.join(JSON_FOLDER, "*.json")))
    if not files:
        raise Skip("the folder with the JSON vectors is absent")
    return files


def test_json_bodies(server):
    """318 JSON texts as whole bodies: none is a heartbeat, none crashes"""
    for path in json_files():
        with open(path, "rb") as file:
            text = file.read()
        status = status_of(server, text)
        assert status in (400, 413, 422), f"{os.path.basename(path)}: {status}"
    server.healthy()
    assert server.attended("vectors") == 0


def test_json_members(server):
    """The same as a member of a heartbeat: y_ is accepted, n_ refused"""
    accepted = 0
    for number, path in enumerate(json_files()):
        name = os.path.basename(path)
        with open(path, "rb") as file:
            text = file.read()
        body = b'{"viewerId":"v-%d","other":%s,"last":1}' % (number, text)
        status = status_of(server, body)
        if len(body) > BODY_BYTES_MAX:
            assert status == 413, f"{name}: {status}"
        elif name.startswith("y_"):
            assert status == 200, f"{name}: {status}"
        elif name.startswith("n_") and not strict_json(body):
            assert status in (400, 422), f"{name}: {status}"
        else:
            assert status in (200, 400, 422), f"{name}: {status}"
        accepted += status == 200
    assert server.attended("vectors") == accepted, "a refused body was counted"


def test_json_viewers(server):
    """A JSON string from y_ as the viewer's id is that viewer, or a bad id"""
    for path in json_files():
        name = os.path.basename(path)
        if not name.startswith("y_"):
            continue
        with open(path, "rb") as file:
            text = file.read()
        value = json.loads(text.decode("utf-8"))
        if not (isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)):
            continue
        raw = text.strip()[1:-1]
        status = status_of(server, b'{"viewerId":' + raw + b"}")
        ident = value[0]
        bad = any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in ident)
        good = 1 <= len(ident.encode("utf-8", "surrogatepass")) <= 128 and not bad
        assert status == (200 if good else 400), f"{name}: {status} for {ident!r}"
        if good:
            assert server.viewer("vectors", ident)["viewerId"] == ident, name


# ---- llhttp ----

def http_cases():
    """(title, bytes, complete, error): of the strict request blocks of llhttp's suite."""
    files = sorted(glob.glob(os.path.join(HTTP_FOLDER, "*.md")))
    if not files:
        raise Skip("the folder with the HTTP vectors is absent")
    cases = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        titles = []
        meta = None
        blocks = re.finditer(r"^(#+) ([^\n]*)$|<!-- meta=([^\n]*?) -->|^```(http|log)\n(.*?)^```", text,
                             re.MULTILINE | re.DOTALL)
        source = None
        for block in blocks:
            if block.group(1):
                titles = titles[:len(block.group(1)) - 1] + [block.group(2)]
            elif block.group(3):
                meta = json.loads(block.group(3))
            elif block.group(4) == "http":
                source = block.group(5)
            elif source is not None:
                # pause only says where llhttp's own test stops and goes on.
                if meta and meta.get("type") == "request" and not meta.get("skipBody"):
                    title = titles[-1]
                    log = block.group(5)
                    error = "error code" in PAUSES.sub("", log)
                    cases.append((title, request_of(source), log.count("message complete"), error))
                source = None
    return cases


def request_of(source):
    """The bytes of an ```http block, as llhttp's own runner makes them."""
    source = source[:-1] if source.endswith("\n") else source
    source = re.sub(r"\\\n", "", source)
    source = source.replace("\n", "\r\n")
    for written, meant in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        source = source.replace(written, meant)
    source = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match.group(1), 16)), source)
    data = source.encode("utf-8")
    # HTTP/1.1 asks for a Host that most of these do not have.
    if not re.search(rb"^[ \t]*host *:", data, re.IGNORECASE | re.MULTILINE):
        data = re.sub(rb"^([A-Z-]+ [^ \r\n]+ HTTP/1\.1\r\n)", rb"\1Host: vectors\r\n", data,
                      flags=re.MULTILINE)
    return data


def stricter():
    """{title: (status, whether another llhttp may accept it)} of the unit test's list."""
    with open(UNIT_TEST, encoding="utf-8") as file:
        listed = re.findall(r'^    \{"((?:[^"\\]|\\.)*)", (\d+), (true|false),', file.read(),
                            re.MULTILINE)
    assert len(listed) > 5, "the list of the unit test was not found"
    return {title: (int(status), by_version == "true") for title, status, by_version in listed}


def answers_to(server, data):
    """The statuses of all answers, and whether the server closed before we did."""
    statuses = []
    with server.connect(10) as connection:
        try:
            connection.send_raw(data)
            connection.socket.settimeout(0.3)
            while True:
                statuses.append(connection.receive(data.startswith(b"HEAD ")).status)
        except socket.timeout:
            return statuses, False
        except (Closed, ConnectionError):
            return statuses, True


def test_http_refused(server):
    """What llhttp refuses is refused with 4xx or 5xx, and the connection closed"""
    count = 0
    for title, data, complete, error in http_cases():
        if not error:
            continue
        count += 1
        statuses, closed = answers_to(server, data)
        assert closed, f"{title}: stays open after {statuses}: {data!r}"
        assert statuses and statuses[-1] >= 400, f"{title}: {statuses}: {data!r}"
        assert len(statuses) <= complete + 1, f"{title}: {statuses}: {data!r}"
        assert all(status >= 400 for status in statuses), f"{title}: {statuses}: {data!r}"
    assert count > 30, f"only {count} cases were found"
    server.healthy()


def test_http_accepted(server):
    """What llhttp accepts is answered, but for a short list where Novabeat is stricter"""
    count = 0
    listed = stricter()
    differing = []
    for title, data, complete, error in http_cases():
        if error:
            continue
        count += 1
        statuses, _ = answers_to(server, data)
        # What follows an upgrade that did not happen may be no HTTP.
        first = statuses[:complete] if b"upgrade" in data.lower() else statuses
        accepted = len(first) == complete and not any(s in REFUSALS for s in first)
        status, by_version = listed.get(title, (None, False))
        if status is None or (by_version and accepted):
            good = accepted
        else:
            good = statuses[-1:] == [status]
        if not good:
            differing.append(f"{title}: {statuses}, not {status or complete}: {data!r}")
    assert not differing, "\n".join(differing)
    assert count > 50, f"only {count} cases were found"
    server.healthy()


if __name__ == "__main__":
    run(test_json_bodies, test_json_members, test_json_viewers, test_http_refused,
        test_http_accepted, server=Server())
