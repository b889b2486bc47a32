#!/usr/bin/env python3
"""Pages of many origins call one worker at the same time.

Goal: while a heartbeat waits for its group sync, requests of other origins come in on other
connections of the same worker; each answer names the origin of its own request.
"""
import select

from harness import Server, event_path, beat_body, run

PAGES = 60
ROUNDS = 20


def test_each_answer_names_its_own_origin():
    """Answers that are given later name the origin of their own request"""
    with Server(cors_origins="https://listed.example, https://*.example.org",
                io_threads=1) as server:
        origins = ["https://listed.example", "https://elsewhere.example"]
        origins += [f"https://{'x' * number}.example.org" for number in range(1, PAGES - 1)]
        pages = [(server.connect(), origin) for origin in origins]
        try:
            for turn in range(ROUNDS):
                for number, (page, origin) in enumerate(pages):
                    page.send("POST", event_path("E") + "/heartbeat",
                              beat_body("E", f"viewer {number}"), {"Origin": origin})
                for page, origin in pages:
                    answer = page.receive()
                    assert answer.status == 200, answer
                    told = answer.headers.get("access-control-allow-origin")
                    assert told == (None if "elsewhere" in origin else origin), (turn, origin, told)
                    assert answer.headers["vary"] == "Origin", answer.headers
                    assert not select.select([page.socket], [], [], 0)[0] and not page.pending
        finally:
            for page, _ in pages:
                page.close()
        answer = server.beat("E", "no browser")
        assert answer.headers["vary"] == "Origin", answer.headers


if __name__ == "__main__":
    run(test_each_answer_names_its_own_origin)
