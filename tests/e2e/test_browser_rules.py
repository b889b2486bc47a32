#!/usr/bin/env python3
"""Goal: pages of configured origins may call and others may not; a viewer that floods is slowed
down and counted once."""
import time

from harness import Server, event_path, run

HEARTBEAT = event_path("E") + "/heartbeat"


def preflight(server, origin, method="POST", path=HEARTBEAT):
    return server.request("OPTIONS", path, None,
                          {"Origin": origin, "Access-Control-Request-Method": method,
                           "Access-Control-Request-Headers": "authorization,content-type"})


def origins():
    """A listed origin gets its headers on every answer, errors too; preflights may be kept"""
    with Server(cors_origins="https://app.example.com, https://*.example.org, http://[::1]:3000",
                cors_max_age="2h") as server:
        for origin in ("https://app.example.com", "https://live.example.org", "http://[::1]:3000"):
            answer = preflight(server, origin)
            assert answer.status == 204, answer
            assert answer.headers["access-control-allow-origin"] == origin, answer.headers
            assert answer.headers["vary"] == "Origin"
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert "authorization" in answer.headers["access-control-allow-headers"].lower()
            assert answer.headers["access-control-max-age"] == "7200"
            for answer in (server.beat("E", "ada", headers={"Origin": origin}),
                           server.request("POST", HEARTBEAT, "{", {"Origin": origin}),
                           server.request("GET", "/nothing", None, {"Origin": origin}),
                           server.request("GET", event_path("E") + "/overview", None,
                                          {"Origin": origin})):
                assert answer.headers["access-control-allow-origin"] == origin, answer
                assert "access-control-allow-credentials" not in answer.headers
        for origin in ("https://evil.example", "https://app.example.com.evil.example",
                       "http://app.example.com", "https://app.example.com:444", "null",
                       "https://a.b.example.org", "https://.example.org", "https://example.org",
                       "https://APP.example.com", "https://evil.example\thttps://app.example.com"):
            answer = preflight(server, origin)
            assert "access-control-allow-origin" not in answer.headers, (origin, answer.headers)
            assert "access-control-allow-methods" not in answer.headers, (origin, answer.headers)
            assert server.beat("E", "ada", headers={"Origin": origin}).headers["vary"] == "Origin"
        assert "access-control-allow-origin" not in server.beat("E", "ada").headers
    with Server() as server:
        assert "access-control-allow-origin" not in preflight(server, "https://a.example").headers
    with Server(cors_origins="*") as server:
        answer = preflight(server, "https://any.example")
        assert answer.headers["access-control-allow-origin"] == "*", answer.headers


def flooding():
    """More than viewer-rate heartbeats a second of one viewer get 429 and Retry-After, uncounted"""
    with Server(viewer_rate=5, io_threads=1) as server:
        began = time.monotonic()
        statuses = [server.beat("E", "flooder") for _ in range(50)]
        took = time.monotonic() - began
        accepted = [answer for answer in statuses if answer.status == 200]
        refused = [answer for answer in statuses if answer.status == 429]
        assert len(accepted) + len(refused) == 50, statuses
        assert 5 <= len(accepted) <= 5 + 5 * took + 1, (len(accepted), took)
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        # Others are not slowed down, neither other viewers nor the same one of another event.
        for i in range(300):
            assert server.beat("E", f"viewer {i}").status == 200
        assert server.beat("F", "flooder").status == 200
        overview = server.overview("E")
        assert overview["logins"] == overview["attended"] == 301, overview
        time.sleep(1.1)
        assert server.beat("E", "flooder").status == 200
        metrics = server.get("/metrics").body.decode()
        assert f"novabeat_rate_refused_total {len(refused)}" in metrics, metrics
        lines = [{"event": "E", "viewer": "flooder"}] * 100
        assert server.batch(lines).json["accepted"] == 100, "batches are not bounded by it"


run(origins, flooding)
