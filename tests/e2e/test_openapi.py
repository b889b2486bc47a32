#!/usr/bin/env python3
"""openapi.json describes the server as it is, and no parameter takes what it should not.

Goal: the document and the server have the same paths, methods and roles; every good answer of a
populated server is as its schema says; every parameter and member of every endpoint is tried with
wrong types, bounds and encodings, and each gives problem+json that names it: never a 5xx, never a
crash.  Where the server answers otherwise, LENIENT and test_lenient say so, with the reason.
"""
# timeout: 300
import json
import os
import re
import time

import openapi
from harness import TOP, Server, quote, run, wait_until

SOURCE = os.path.join(TOP, "src", "api", "api.c")
DOCUMENT = os.path.join(TOP, "docs", "openapi.json")
SHORT = {"frame": "1s", "alive_window": "2s", "hidden_window": "2s", "leaving_window": "1s",
         "viewing_gap": "3s"}
TIMES_MAX = 1 << 53


def document_of(server):
    return openapi.Document(server.get_json("/openapi.json"))


# ---- (1) the same paths, methods and roles ----

def table_of_routes():
    """(method, path) -> role of the table in the source: the document must miss none of it."""
    with open(SOURCE, encoding="utf-8") as file:
        source = file.read()
    macros = dict(re.findall(r'^#define (\w+) +((?:\w+ )?"[^"]*")$', source, re.M))

    def pattern(text):
        for _ in range(3):
            text = re.sub(r"\b(" + "|".join(macros) + r")\b", lambda name: macros[name[1]], text)
        assert re.fullmatch(r'( ?"[^"]*")+', text), text
        return "".join(re.findall(r'"([^"]*)"', text))

    table = source[source.index("static const struct endpoint endpoints[]"):]
    table = table[:table.index("};")]
    found = {}
    for method, path, role in re.findall(r"\{HTTP_(\w+),\s+([^,]+),\s+IDS_\w+,\s+(\w+),", table):
        found[method.lower(), pattern(path)] = role.lower()
    for method, tail, role in re.findall(r'AUDIENCE\(HTTP_(\w+),\s+("[^"]*"),\s+(\w+),', table):
        for start in ("EVENT ", "SESSION "):
            found[method.lower(), pattern(start + tail)] = role.lower()
    assert len(found) > 40, found
    return found


def role_of(operation):
    (security,) = operation["security"] or [{"open": []}]
    if "viewerToken" in security:
        return "viewer"
    return security["apiKey"][0] if "apiKey" in security else "open"


def test_document(server):
    """The document is the one of the source with the version in it, and is served to all"""
    answer = server.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json", answer.headers
    with open(DOCUMENT, encoding="utf-8") as file:
        text = json.load(file)
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer.json["info"]["version"]), answer.json["info"]
    text["info"]["version"] = answer.json["info"]["version"]
    assert answer.json == text
    openapi.self_test()


def test_routes(server):
    """The document has every route with its role, and no other"""
    described = {(method, path): role_of(operation)
                 for path, method, operation in document_of(server).operations()}
    table = table_of_routes()
    assert described == table, (set(described.items()) ^ set(table.items()))


def example(path):
    return (path.replace("{eventId}", "probe").replace("{sessionId}", "s")
            .replace("{viewerId}", "v").replace("{keyId}", "abcdefghijkl"))


def test_methods(server):
    """Every path knows the methods that are described, and no others"""
    document = document_of(server)
    for path in document.text["paths"]:
        # A viewer may be called like a figure: PUT …/viewers/count is such a viewer's.
        methods = {method for other, methods in document.text["paths"].items() for method in methods
                   if re.fullmatch(re.sub(r"{\w+}", "[^/]+", other), example(path))}
        known = {method.upper() for method in methods} | {"OPTIONS"}
        known |= {"HEAD"} if "get" in methods else set()
        answer = server.request("OPTIONS", example(path))
        assert answer.status == 204, (path, answer)
        assert set(re.split(", *", answer.headers["allow"])) == known, (path, answer.headers)
        for method in ("GET", "PUT", "POST", "DELETE", "PATCH"):
            if method in known:
                continue
            answer = server.request(method, example(path), b"{}")
            assert answer.status == 405, (method, path, answer)
            assert set(re.split(", *", answer.headers["allow"])) == known, answer.headers
            assert not problem_faults(document, answer), (path, answer)


def test_roles():
    """Every operation asks for the role that is described: 401 without, 403 with another"""
    with Server(auth="jwt") as server:
        keys = {}
        for role in ("read", "ingest", "admin"):
            keys[role] = server.request("POST", "/analytics/keys", {"role": role}).json["key"]
        document = document_of(server)
        for path, method, operation in document.operations():
            role = role_of(operation)
            stranger = server.request(method.upper(), example(path), b"",
                                      {"Authorization": "None"})
            if role == "open":
                assert stranger.status == 200, (path, stranger)
                continue
            assert stranger.status == 401, (method, path, stranger)
            assert not problem_faults(document, stranger), stranger
            for held, key in keys.items():
                if role == "viewer":
                    continue
                answer = server.request(method.upper(), example(path), b"",
                                        {"Authorization": "Bearer " + key})
                allowed = held in (role, "admin")
                assert (answer.status not in (401, 403)) == allowed, (method, path, held, answer)


# ---- (2) every good answer is as its schema says ----

def problem_faults(document, answer):
    found = document.faults({"$ref": "#/components/schemas/Problem"}, answer.json)
    if answer.headers["content-type"] != "application/problem+json":
        found.append(f"content type {answer.headers['content-type']}")
    if answer.json.get("status") != answer.status:
        found.append(f"status {answer.json.get('status')}")
    return found


EVENT = "/analytics/events/full"


def populate(server):
    """An event in which everything is there: profiles, sessions, groups, countries, frames, a
    viewer with two viewings."""
    for viewer, groups in (("ada", ["press", "staff"]), ("b\u00f6b", []), ("zo\u00eb \u2665", ["x"])):
        server.put_profile("full", viewer, name=viewer.upper(), groups=groups)
    server.request("PUT", EVENT, {"title": "All of it \u202e", "startMs": 1637661623070,
                                  "sessions": [{"sessionId": "opening", "title": "Opening"},
                                               {"sessionId": "later", "startMs": 5}]})
    server.request("PUT", "/analytics/events/second", {})
    for viewer in ("ada", "b\u00f6b", "nobody"):
        server.beat_ok("full", viewer, "opening")
        server.beat_ok("full", viewer)
    wait_until(lambda: server.frames("full") and server.frames("full", "opening"), "a frame is over")
    time.sleep(3.2)  # longer than the viewing gap: the next heartbeat begins another viewing
    server.batch([{"event": "full", "session": "opening", "viewer": "ada", "country": "HK"},
                  {"event": "full", "viewer": "cy", "groups": ["g"]},
                  {"event": "seen-only", "viewer": "ada"}])
    server.beat_ok("full", "ada", "opening")
    wait_until(lambda: len(server.frames("full")) > 1 and len(server.frames("full", "opening")) > 1,
               "another frame is over")


def good_requests(key):
    """operationId -> (query, body, content type): requests with good answers, also further pages.
    Whatever takes away comes last."""
    report = [("", {"limit": 1}, None), ("", {"format": "csv"}, None), ("", b"", None)]
    lines = b'{"event":"full","viewer":"x"}\nwrong\n'
    profiles = b'{"viewer":"imported","name":"I"}\n{"viewer":7}\n'
    return {
        "heartbeat": [("", {"viewerId": "ada"}, None)],
        "heartbeats": [("", lines, "application/x-ndjson")],
        "report": report,
        "putProfile": [("", {"name": "A", "groups": ["b", "a"]}, None)],
        "importProfiles": [("", profiles, "application/x-ndjson"),
                           ("", b"viewer,name\nc,C\n", "text/csv")],
        "putEvent": [("", {"title": "T", "sessions": [{"sessionId": "opening"}]}, None),
                     ("", {}, None)],
        "putSession": [("", {"title": "T", "startMs": 1}, None)],
        "makeKey": [("", {"roles": ["read", "ingest"], "eventId": "full", "name": "k"}, None),
                    ("", {"role": "admin"}, None)],
        "keys": [("", None, None), ("?limit=1", None, None)],
        "events": [("", None, None), ("?limit=1", None, None)],
        "profiles": [("", None, None), ("?limit=1", None, None)],
        "sessions": [("", None, None), ("?limit=1", None, None)],
        "statistics": [("", None, None), ("?limit=1", None, None)],
        "viewer": [("", None, None), ("?limit=1", None, None)],
        "everCount": [("", None, None), ("?from=0", None, None)],
        "revokeKey": [("", None, None)],
        "key": key,
    }


LAST = ("deleteSession", "eraseViewer", "purgeEvent", "revokeKey")


def check_answer(document, operation, answer):
    where = (operation["operationId"], answer)
    good = [status for status in operation["responses"] if status < 300]
    assert answer.status in good, where
    content = operation["responses"][answer.status].get("content")
    if content is None:
        assert answer.body == b"" and answer.status == 204, where
        return
    kind = answer.headers["content-type"].split(";")[0]
    assert kind in content, where
    value = answer.json if kind == "application/json" else answer.body.decode("utf-8")
    found = document.faults(content[kind]["schema"], value)
    assert not found, (operation["operationId"], found, answer)


def test_answers():
    """Every good answer of a populated server is as its schema says, member by member"""
    with Server(**SHORT) as server:
        populate(server)
        document = document_of(server)
        key = server.request("POST", "/analytics/keys", {"role": "read", "name": "gone"}).json["id"]
        server.request("PUT", EVENT + "/sessions/later", {"title": "Later"})
        requests = good_requests(key)
        operations = sorted(document.operations(),
                            key=lambda row: LAST.index(row[2]["operationId"]) + 1
                            if row[2]["operationId"] in LAST else 0)
        pages = 0
        for path, method, operation in operations:
            session = "later" if operation["operationId"] == "deleteSession" else "opening"
            target = (path.replace("{eventId}", "full").replace("{sessionId}", session)
                      .replace("{viewerId}", "ada").replace("{keyId}", key))
            for query, body, kind in requests.get(operation["operationId"], [("", None, None)]):
                headers = {"Content-Type": kind} if kind else {}
                answer = server.request(method.upper(), target + query, body, headers)
                check_answer(document, operation, answer)
                if "limit=1" in query:
                    assert "next" in answer.json, (target, answer)
                    more = server.get(f"{target}{query}&cursor={quote(answer.json['next'])}")
                    check_answer(document, operation, more)
                    assert more.json != answer.json, more
                    pages += 1
        assert pages >= 6, pages
        server.healthy()


# ---- (3) bad input ----

HUGE = "x" * 9000
BAD_ENCODING = ("%", "%4", "%zz", "a%")
# For each kind of path parameter, texts as they stand in the path, and the statuses.
BAD_IDS = ("a%20b", "a%2Fb", "%C3%A9", "a+b", "%00", "a%0Ab", "%ff", "x" * 65, HUGE)
BAD_IN_PATH = {
    "eventId": BAD_IDS,
    "sessionId": BAD_IDS,
    "viewerId": ("%01", "%7f", "%c2%85", "%00", "%ff", "%c0%80", "%ed%a0%80", "%f4%90%80%80",
                 "x" * 129, "%e2%82", HUGE),
    "keyId": ("x", "abcdefghijk-", "%C3%A9", HUGE, "%00"),
}
# Where the server answers otherwise, and why.
LENIENT = {("path", "keyId"): 404}  # what cannot be a key's id is simply no key


def expect_problem(document, answer, field, where, statuses=(400,)):
    assert answer.status in statuses, (where, answer)
    assert not problem_faults(document, answer), (where, problem_faults(document, answer))
    said = answer.json.get("field")
    assert said == field, f"{where}: field {said!r}, not {field!r}: {answer}"


def test_bad_paths(server):
    """Bad ids in paths: 400 that names the parameter"""
    document = document_of(server)
    tried = 0
    for path, method, operation in document.operations():
        for parameter in operation["parameters"]:
            name = parameter["name"]
            if parameter["in"] != "path":
                continue
            for bad in BAD_IN_PATH[name] + BAD_ENCODING:
                target = example(path.replace("{%s}" % name, bad))
                answer = server.request(method.upper(), target, b"{}" if method != "get" else None)
                statuses = (400,)
                if name == "keyId" and bad not in BAD_ENCODING + ("%00",):
                    statuses = (LENIENT["path", "keyId"],)
                expect_problem(document, answer, name, (method, target[:200]), statuses)
                tried += 1
            # An empty one is another path.
            answer = server.request(method.upper(), example(path.replace("{%s}" % name, "")), b"{}")
            assert answer.status in (404, 405), (method, path, name, answer)
            assert not problem_faults(document, answer), answer
    assert tried > 500, tried


def bad_query_values(document, schema):
    """Raw texts that the schema does not allow."""
    schema = document.resolve(schema)
    bad = ["", "%", "%4", "%zz", "%ff", "%00", "%C3%A9", "-1", "+1", "1.5", "0x10", "a%20b", HUGE,
           "%20", "%0A"]
    if schema["type"] == "integer":
        bad += ["x", "1e3", "NaN", "true", "9" * 30, str(schema["maximum"] + 1), "1,2", "1%20"]
        bad += [str(schema["minimum"] - 1)]
        return bad
    return [text for text in bad if "%" in text or not re.search(schema["pattern"], text)]


def test_bad_queries(server):
    """Bad query parameters: 400 that names the parameter"""
    document = document_of(server)
    tried = 0
    for path, method, operation in document.operations():
        for parameter in operation["parameters"]:
            if parameter["in"] != "query":
                continue
            for bad in bad_query_values(document, parameter["schema"]):
                target = f"{example(path)}?{parameter['name']}={bad}"
                answer = server.request(method.upper(), target)
                expect_problem(document, answer, parameter["name"], target[:200])
                tried += 1
        names = {parameter["name"] for parameter in operation["parameters"]}
        if {"from", "to"} <= names:
            answer = server.get(example(path) + "?from=7&to=6")
            expect_problem(document, answer, "to", path)
    assert tried > 300, tried


# A good body of each operation that has one, to be spoilt member by member.
GOOD = {
    "heartbeat": {"viewerId": "ada"},
    "heartbeats": {"event": "fuzz", "viewer": "ada"},
    "report": {},
    "putProfile": {},
    "importProfiles": {"viewer": "ada"},
    "putEvent": {},
    "putSession": {},
    "makeKey": {"role": "read"},
}
WRONG_KINDS = {"integer": 7, "string": "seven", "boolean": True, "array": [], "object": {},
               "null": None, "float": 1.5}


def spoilt(document, schema, name):
    """JSON texts that the member's schema does not allow."""
    schema = document.resolve(schema)
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    bad = [json.dumps(value) for kind, value in WRONG_KINDS.items() if kind not in kinds]
    if "integer" in kinds:
        bad += ["1e3", "9" * 30, "-" + "9" * 30, '"7"']
        bad += [str(schema["maximum"] + 1)] if "maximum" in schema else []
        bad += [str(schema["minimum"] - 1)] if "minimum" in schema else []
    if "string" in kinds and name not in ("path", "token"):
        bad += ['"\\u0000"', '"a\\u001fb"', '"\\u007f"', json.dumps(HUGE[:5000])]
        bad += [json.dumps("\u20ac" * (schema["maxLength"] // 3 + 1), ensure_ascii=False)] \
            if "maxLength" in schema else []
        bad += ['""'] if schema.get("minLength") or "pattern" in schema else []
        bad += ['"a b"', '"\u00e9"', '"a/b"'] if "pattern" in schema else []
    if "array" in kinds:
        items = document.resolve(schema["items"])
        bad += ["[7]", "[null]", "[[]]"]
        if items.get("type") == "string":
            bad += ["[{}]", '[""]', '["a\\u0001"]', json.dumps(["x" * 65])]
        if schema.get("maxItems") == 32:
            bad += [json.dumps([f"g{number}" for number in range(33)])]
    return bad


def member_bodies(document, operation_id, schema):
    """(field, body text): the good body with one member spoilt."""
    for name, member in schema["properties"].items():
        for bad in spoilt(document, member, name):
            good = {other: value for other, value in GOOD[operation_id].items() if other != name}
            yield name, ("{" + "".join(f"{json.dumps(other)}:{json.dumps(value)},"
                                       for other, value in good.items()) +
                         f"{json.dumps(name)}:{bad}" + "}")
    for name in schema.get("required", []):
        yield name, json.dumps({other: value for other, value in GOOD[operation_id].items()
                                if other != name})


def named(operation_id, field, said):
    """Of a heartbeat the viewer is missed where a null stands for it, and of a key the roles."""
    return said == field or (operation_id == "makeKey" and {said, field} == {"role", "roles"})


def body_operations(document):
    for path, method, operation in document.operations():
        if "requestBody" in operation:
            kind, content = next(iter(operation["requestBody"]["content"].items()))
            yield path, method.upper(), operation["operationId"], kind, \
                document.resolve(content["schema"])


def test_bad_members(server):
    """Bad members of bodies: 400, or a rejected line, that names the member"""
    document = document_of(server)
    tried = 0
    for path, method, operation_id, kind, schema in body_operations(document):
        target = example(path)
        for field, body in member_bodies(document, operation_id, schema):
            where = (operation_id, field, body[:200])
            answer = server.request(method, target, body, {"Content-Type": kind})
            tried += 1
            if kind == "application/x-ndjson":
                assert answer.status == 200, (where, answer)
                assert answer.json["accepted"] == 0, (where, answer)
                (rejected,) = answer.json["rejected"]
                assert rejected["line"] == 1 and f'"{field}"' in rejected["reason"], (where, answer)
                continue
            assert answer.status == 400, (where, answer)
            assert not problem_faults(document, answer), (where, answer)
            assert named(operation_id, field, answer.json.get("field")), (where, answer)
    assert tried > 200, tried


def test_bad_session_members(server):
    """Bad members of the sessions of a declaration are named with their place"""
    document = document_of(server)
    schema = document.text["components"]["schemas"]["EventPut"]["properties"]["sessions"]["items"]
    for name, member in schema["properties"].items():
        for bad in spoilt(document, member, name):
            good = "" if name == "sessionId" else '"sessionId":"a",'
            body = '{"sessions":[{"sessionId":"a"},{%s"%s":%s}]}' % (good, name, bad)
            answer = server.request("PUT", "/analytics/events/fuzz", body)
            expect_problem(document, answer, f"sessions[1].{name}", body[:200])
    body = {"sessions": [{"sessionId": "a"}] * 1001}
    expect_problem(document, server.request("PUT", "/analytics/events/fuzz", body), "sessions", "")
    assert server.get("/analytics/events/fuzz").status == 404, "half of a declaration was stored"


BAD_BODIES = (b"null", b"[]", b"7", b'"a"', b"{", b'{"a":1', b"{}}", b"{} x", b"{a:1}", b"{'a':1}",
              b'{"a":1,}', b'{"a":"\xff"}', b"\xef\xbb\xbf{}", b'{"a":"\n"}', b'{"a":"\\x"}',
              b'{"a":01}', b'{"a":"\\ud800"}', b"\x00" * 20, b'{"a":' + b"[" * 500,
              b'{"a":tru}', b"viewer=ada", b'{"a":"\xed\xa0\x80"}', b'{"\xc0\x80":1}')


def test_bad_bodies(server):
    """Bodies that are no JSON object: 400; a bad line is rejected; too large ones: 413"""
    document = document_of(server)
    for path, method, operation_id, kind, _ in body_operations(document):
        target = example(path)
        for body in BAD_BODIES:
            answer = server.request(method, target, body, {"Content-Type": kind})
            where = (operation_id, body[:60])
            if kind == "application/x-ndjson":
                assert answer.status == 200 and answer.json["accepted"] == 0, (where, answer)
                assert answer.json["rejected"], (where, answer)
                continue
            assert answer.status == 400, (where, answer)
            assert not problem_faults(document, answer), (where, answer)
        if operation_id not in ("report", "heartbeats"):  # nothing asked, nothing sent: allowed
            answer = server.request(method, target, b"", {"Content-Type": kind})
            assert answer.status == 400, (operation_id, answer)
            assert not problem_faults(document, answer), answer
        big = b'{"viewerId":"ada","x":"' + b"x" * (9 << 20) + b'"}'
        with server.connect() as connection:
            try:
                connection.send(method, target, big)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answer = connection.receive()
        assert answer.status == 413, (operation_id, answer)
        assert not problem_faults(document, answer), answer
    server.healthy()


def test_bad_csv(server):
    """Bad CSV of profiles: a bad header is named, bad lines are rejected with their number"""
    document = document_of(server)

    def send(body):
        return server.request("POST", "/analytics/events/csv/viewers", body,
                              {"Content-Type": "text/csv"})

    for body in (b"name\nx\n", b"viewer,viewer\na,b\n", b"viewer,colour\na,b\n", b"\xff\xfe\n",
                 b'"viewer\n', b"\n", b"viewer," + b"x" * 70000 + b"\n", b"\x00\n", b"," * 100):
        answer = send(body)
        expect_problem(document, answer, "header", body[:60])
    answer = send("viewer,name,groups\nada,A,x;y\n\u0001,B,\nb\x7f,C,\nc\nd,e,f,g\n" +
                  'e,"x"y,\nf,' + "x" * 257 + ",\n" + "g,G," + "x" * 65 + "\nh,H," +
                  ";".join(f"g{number}" for number in range(33)) + "\n" + 'i,"cut')
    assert answer.status == 200 and answer.json["accepted"] == 1, answer
    assert [row["line"] for row in answer.json["rejected"]] == list(range(3, 12)), answer


def test_lenient(server):
    """What is taken on purpose: unknown names, repeats (the last counts), null, odd content types"""
    assert server.get("/analytics/events?colour=%zz&limit=1").status == 200  # not ours to judge
    assert server.get("/analytics/events?limit=0&limit=1").status == 200
    assert server.get("/analytics/events?limit=1&limit=0").status == 400
    assert server.get("/analytics/events?&&limit=%31&").status == 200
    for body in ('{"title":null,"startMs":null,"sessions":null,"colour":[1]}',
                 '{"title":7,"title":"two"}'):
        status = 200 if "null" in body else 400  # each of a repeated one must be of its kind
        answer = server.request("PUT", "/analytics/events/lenient", body,
                                {"Content-Type": "text/plain"})
        assert answer.status == status, (body, answer)
    assert server.request("POST", "/analytics/heartbeats", b"").json["accepted"] == 0
    assert server.request("POST", "/analytics/events/lenient/heartbeat-report").status == 200


def test_nothing_was_made(server):
    """Of all the bad input nothing was counted or stored"""
    for path in ("/analytics/events?cursor=f", "/analytics/keys"):
        rows = server.get_json(path)
        assert not [row for row in rows.get("events", []) if row["eventId"] == "fuzz"], rows
        assert rows.get("keys", []) == [], rows
    assert server.get_json("/analytics/events/probe/viewers")["viewers"] == []
    assert server.active("probe")[0] == 0 and server.attended("probe") == 0
    assert server.get("/analytics/events/probe").status == 404
    server.healthy()


if __name__ == "__main__":
    run(test_document, test_routes, test_methods, test_roles, test_answers, test_bad_paths,
        test_bad_queries, test_bad_members, test_bad_session_members, test_bad_bodies, test_bad_csv, test_lenient,
        test_nothing_was_made, server=Server(batch_bytes_max="1m"))
