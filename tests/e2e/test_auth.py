#!/usr/bin/env python3
"""Goal: with --auth jwt, viewers count by their tokens and nobody else's, and back ends and
dashboards may do what their API keys say."""
import json
import os
import re
import signal
import subprocess
import tempfile
import time

from harness import BINARY, Server, event_path, run, wait_until
from jwt import Key, hs256

SECRET = "0123456789abcdef0123456789abcdef-secret"
HEARTBEAT = event_path("E") + "/heartbeat"


def novabeat(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60,
                          check=False)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def claims(viewer="ada", **more):
    now = int(time.time())
    return {"sub": viewer, "iat": now, "exp": now + 3600, **more}


def beat(server, token, event="E", body=None):
    return server.request("POST", event_path(event) + "/heartbeat", body, bearer(token))


def refused(answer, status, field):
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json", answer
    assert answer.json["field"] == field, answer
    assert answer.headers["www-authenticate"].startswith("Bearer"), answer
    return answer


def first_start():
    """A first start prints an admin key once and makes a secret; both work, and nothing else does"""
    with Server(auth="jwt") as server:
        assert re.fullmatch(r"nb_[A-Za-z0-9]{12}_[A-Za-z0-9_-]{43}", server.key), server.key
        assert server.key not in server.log_text(), "the key is in the log"
        secret = os.path.join(server.data, "token-secret")
        assert os.stat(secret).st_mode & 0o777 == 0o600
        made = novabeat("token", "--data", server.data, "--event", "E", "--viewer", "ada")
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        assert beat(server, token).status == 200
        assert server.active("E")[0] == 1
        assert server.viewer("E", "ada")["alive"] is True

        refused(server.request("POST", HEARTBEAT, {"viewerId": "eve"}, {"Authorization": "x"}),
                401, "token")
        refused(beat(server, token[:-2] + "AA"), 401, "token")
        refused(beat(server, token, "F"), 403, "eventId")
        refused(server.request("GET", event_path("E") + "/overview", None,
                               {"Authorization": "None"}), 401, "Authorization")
        refused(server.request("GET", event_path("E") + "/overview", None, bearer(token)),
                401, "Authorization")
        refused(server.request("GET", "/metrics", None, {"Authorization": "None"}), 401,
                "Authorization")
        for path in ("/healthz", "/readyz"):
            assert server.request("GET", path, None, {"Authorization": "None"}).status == 200
        assert server.active("E")[0] == 1, "something refused was counted"
        key, data = server.key, server.data
        assert server.terminate() == 0
        server.start()
        assert "nb_" not in server.stdout_text(), "a key is printed at each start"
        assert server.key == key and server.data == data
        assert server.attended("E") == 1
        assert beat(server, token).status == 200


def where_tokens_are():
    """A token counts from the header and from the body, also as text/plain; sub names the viewer"""
    with Server(auth="jwt", token_secret=SECRET) as server:
        token = hs256(SECRET, claims("in header"))
        assert beat(server, token, body={"viewerId": "eve", "token": "nonsense"}).status == 200
        body = json.dumps({"token": hs256(SECRET, claims("in body \U0001f600")),
                           "path": "/events/E/sessions/S"})
        for content_type in ("text/plain;charset=UTF-8", "application/json"):
            answer = server.request("POST", HEARTBEAT, body,
                                    {"Content-Type": content_type, "Authorization": ""})
            assert answer.status == 200, answer
        assert server.attended("E") == 2 and server.attended("E", "S") == 1
        assert server.viewer("E", "in body \U0001f600")["alive"] is True
        assert server.get(event_path("E") + "/viewers/eve").status == 404
        # Escapes in the body's JSON are JSON's, not the token's.
        escaped = '{"token":"' + "".join(f"\\u{ord(c):04x}" for c in token) + '"}'
        assert server.request("POST", HEARTBEAT, escaped, {"Authorization": ""}).status == 200
        assert server.request("POST", HEARTBEAT, None,
                              {"Authorization": f"bearer  {token}"}).status == 200


def what_tokens_say():
    """Groups of a token spare the profile; an event binds it; time, issuer and audience are checked"""
    with Server(auth="jwt", token_secret=SECRET, token_issuer="https://id.example",
                token_audience="novabeat") as server:
        good = {"iss": "https://id.example", "aud": ["other", "novabeat"]}
        groups = [f"group {i} " + "x" * 50 for i in range(32)]
        assert beat(server, hs256(SECRET, claims("a", groups=groups, **good))).status == 200
        assert beat(server, hs256(SECRET, claims("b", groups=["staff"], **good))).status == 200
        assert beat(server, hs256(SECRET, claims("c", **good))).status == 200
        live = server.get_json(event_path("E") + "/statistics/live")
        assert live["countByUserGroup"] == {**{group: 1 for group in groups}, "staff": 1}, live
        now = int(time.time())
        for wrong in ({"iss": "https://other.example"}, {"aud": "other"}, {"aud": []},
                      {"exp": now - 70}, {"nbf": now + 70}, {"iat": now + 70}, {"sub": 7},
                      {"sub": ""}, {"sub": "x" * 129}, {"groups": "staff"}, {"groups": [1]},
                      {"event": 5}, {"event": None}, {"event": "a/b"}):
            refused(beat(server, hs256(SECRET, {**claims("w", **good), **wrong})), 401, "token")
        for fine in ({"exp": now - 50}, {"nbf": now + 50}, {"iat": now + 50}, {"event": "E"}):
            answer = beat(server, hs256(SECRET, {**claims("w", **good), **fine}))
            assert answer.status == 200, (fine, answer)
        bound = hs256(SECRET, claims("w", event="E", **good))
        for _ in range(2):  # checked, then remembered
            assert beat(server, bound).status == 200
            refused(beat(server, bound, "F"), 403, "eventId")
        # An event's id and a token that both must be decoded do not spoil each other.
        escaped = '{"token":"' + "".join(f"\\u{ord(c):04x}" for c in bound) + '"}'
        for path, status in (("%45", 200), ("%46", 403)):
            answer = server.request("POST", f"/analytics/events/{path}/heartbeat", escaped,
                                    {"Authorization": ""})
            assert answer.status == status, answer


def every_algorithm():
    """RS256, PS256, ES256 and EdDSA keys from PEM files; a token of another algorithm is refused"""
    with tempfile.TemporaryDirectory() as folder:
        for algorithm in ("RS256", "PS256", "ES256", "EdDSA"):
            key, other = Key(folder, algorithm), Key(folder, algorithm, "other")
            other.kid = None
            rsa = algorithm if algorithm.endswith("S256") and algorithm[0] in "RP" else "RS256"
            with Server(auth="jwt", token_pem=key.public, token_rsa=rsa) as server:
                assert not os.path.exists(os.path.join(server.data, "token-secret"))
                token = key.sign(claims())
                for _ in range(2):
                    assert beat(server, token).status == 200, algorithm
                refused(beat(server, other.sign(claims())), 401, "token")
                with open(key.public, encoding="ascii") as public:
                    confused = hs256(public.read(), claims())
                refused(beat(server, confused), 401, "token")
                refused(beat(server, key.sign(claims(), alg="none")), 401, "token")
                unsigned = token.rsplit(".", 1)[0] + "."
                refused(beat(server, unsigned), 401, "token")


def keys_of_a_set():
    """A JWKS is read again when it changes and on SIGHUP: new keys count, removed ones do not"""
    with tempfile.TemporaryDirectory() as folder:
        keys = {kid: Key(folder, algorithm, kid)
                for kid, algorithm in (("r", "RS256"), ("e", "ES256"), ("d", "EdDSA"))}
        path = os.path.join(folder, "jwks.json")

        def write(*kids):
            with open(path + ".new", "w", encoding="ascii") as out:
                json.dump({"keys": [keys[kid].jwk() for kid in kids] +
                                   [{"kty": "oct", "kid": "enc", "use": "enc", "k": "AAAA"}]}, out)
            os.rename(path + ".new", path)

        write("r", "e")
        tokens = {kid: key.sign(claims(kid)) for kid, key in keys.items()}
        with Server(auth="jwt", token_jwks=path) as server:
            assert beat(server, tokens["r"]).status == 200
            assert beat(server, tokens["e"]).status == 200
            refused(beat(server, tokens["d"]), 401, "token")
            refused(beat(server, keys["e"].sign(claims(), kid="r")), 401, "token")
            write("e", "d")
            wait_until(lambda: beat(server, tokens["d"]).status == 200, "the change is seen", 5)
            refused(beat(server, tokens["r"]), 401, "token")
            # Half a file changes nothing.
            with open(path, "w", encoding="ascii") as out:
                out.write('{"keys":[')
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "stay as they were" in server.log_text(), "the change is seen", 5)
            assert beat(server, tokens["d"]).status == 200
            write("r")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: beat(server, tokens["r"]).status == 200, "the change is seen", 5)
            refused(beat(server, tokens["d"]), 401, "token")


def make_key(server, *arguments):
    made = novabeat("keys", "create", "--data", server.data, *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def roles():
    """A key may do what its role says, for its event; made and revoked while the server runs"""
    with Server(auth="jwt", token_secret=SECRET) as server:
        assert beat(server, hs256(SECRET, claims())).status == 200
        read = make_key(server, "--role", "read", "--name", "dashboard \u2603")
        ingest = make_key(server, "--role", "ingest")
        bound = make_key(server, "--role", "read,ingest", "--event", "E")
        overview = event_path("E") + "/overview"

        def status(key, method, path, body=None):
            return server.request(method, path, body, bearer(key)).status

        wait_until(lambda: status(bound, "GET", overview) == 200, "the change is seen", 5)
        line = {"event": "E", "viewer": "b"}, {"event": "F", "viewer": "b"}
        batch = "\n".join(json.dumps(one) for one in line)
        profile = event_path("E") + "/viewers/ada"
        assert status(read, "GET", overview) == 200
        assert status(read, "POST", "/analytics/heartbeats", batch) == 403
        assert status(read, "PUT", profile, {"name": "Ada"}) == 403
        assert status(ingest, "GET", overview) == 403
        assert status(ingest, "POST", "/analytics/heartbeats", batch) == 200
        assert server.attended("E") == 2 and server.attended("F") == 1
        assert status(server.key, "PUT", profile, {"name": "Ada"}) == 200
        assert status(bound, "GET", event_path("F") + "/overview") == 403
        assert status(bound, "GET", "/metrics") == 403
        batch = batch.replace('"b"', '"c"')
        answer = server.request("POST", "/analytics/heartbeats", batch, bearer(bound))
        assert answer.json["accepted"] == 1, answer
        assert [one["line"] for one in answer.json["rejected"]] == [2], answer
        assert server.attended("E") == 3 and server.attended("F") == 1

        listed = novabeat("keys", "list", "--data", server.data).stdout
        assert len(listed.splitlines()) == 4 and "dashboard \u2603" in listed, listed
        for key in (read, ingest, bound, server.key):
            assert key[3:15] in listed and key[16:] not in listed, listed
        with open(os.path.join(server.data, "records.db"), "rb") as stored:
            assert read[16:].encode() not in stored.read(), "the secret itself is stored"
        assert novabeat("keys", "revoke", read[3:15], "--data", server.data).returncode == 0
        wait_until(lambda: status(read, "GET", overview) == 401, "the change is seen", 5)
        assert status(bound, "GET", overview) == 200
        assert novabeat("keys", "revoke", "AAAAAAAAAAAA", "--data", server.data).returncode == 1
        assert novabeat("keys", "create", "--data", server.data).returncode == 2
        with tempfile.TemporaryDirectory() as wrong:
            for arguments in (("list",), ("revoke", "AAAAAAAAAAAA")):
                done = novabeat("keys", *arguments, "--data", wrong)
                assert done.returncode == 1 and "right folder" in done.stderr, done
            assert not os.listdir(wrong), "a store was made"
        wrong = read[:-1] + ("A" if read[-1] != "A" else "B")
        assert status(wrong, "GET", overview) == 401


def large_bodies():
    """Who has no key for it cannot make the server keep a large body"""
    with Server(auth="jwt", token_secret=SECRET) as server:
        read = make_key(server, "--role", "read")
        wait_until(lambda: server.request("GET", "/metrics", None, bearer(read)).status == 200,
                   "the change is seen", 5)
        paths = (("POST", "/analytics/heartbeats"), ("POST", event_path("E") + "/viewers"),
                 ("PUT", event_path("E")))
        for method, path in paths:
            for headers in ({"Authorization": ""}, bearer(read), bearer("nb_x")):
                small, large = (server.request(method, path, "x" * size, headers).status
                                for size in (8000, 9000))
                assert (small, large) == (403 if headers == bearer(read) else 401, 413), path
            answer = server.request(method, path, "x" * 9000, bearer(server.key))
            assert answer.status in (200, 400), answer


def forgotten():
    """With an erased viewer, and with a purged event, the tokens go that were remembered"""
    with Server(auth="jwt", token_secret=SECRET) as server:
        def remembered():
            metrics = server.get("/metrics").body.decode()
            return int(re.search(r"^novabeat_tokens_remembered (\d+)$", metrics, re.M)[1])

        for viewer in ("ada", "bob", "eve"):
            assert beat(server, hs256(SECRET, claims(viewer))).status == 200
        assert remembered() == 3
        assert server.request("DELETE", event_path("E") + "/viewers/nobody").status == 404
        assert remembered() == 3
        assert server.request("DELETE", event_path("E") + "/viewers/ada").status == 204
        assert remembered() == 2
        assert server.request("DELETE", event_path("E")).status == 204
        assert remembered() == 0
        assert beat(server, hs256(SECRET, claims("bob"))).status == 200
        assert server.active("E")[0] == 1


def open_is_for_loopback():
    """--auth none warns loudly and is refused on an address that others reach, unless forced"""
    with tempfile.TemporaryDirectory() as data:
        done = novabeat("serve", "--auth", "none", "--listen", "0.0.0.0:0", "--data", data)
        assert done.returncode == 2 and "auth" in done.stderr, done
    with Server() as server:
        assert "AUTH IS OFF" in server.log_text()
    with Server("--auth-none-anywhere", "--listen", "0.0.0.0:0") as server:
        assert "AUTH IS OFF" in server.log_text()


def wrong_keys():
    """A key that is missing, weak or no key stops the start with words that name it"""
    with tempfile.TemporaryDirectory() as folder:
        empty = os.path.join(folder, "empty.pem")
        with open(empty, "w", encoding="ascii"):
            pass
        for arguments, words in ((("--token-pem", "/nowhere.pem"), "/nowhere.pem"),
                                 (("--token-pem", empty), empty),
                                 (("--token-jwks", empty), empty),
                                 (("--token-secret-file", empty), empty),
                                 (("--token-secret", "short"), "token-secret")):
            done = novabeat("serve", "--listen", "127.0.0.1:0", "--data",
                            os.path.join(folder, "data"), *arguments)
            assert done.returncode in (1, 2), (arguments, done)
            assert words in done.stderr and "short" not in done.stderr, (arguments, done.stderr)


run(first_start, where_tokens_are, what_tokens_say, every_algorithm, keys_of_a_set, roles,
    large_bodies, forgotten, open_is_for_loopback, wrong_keys)
