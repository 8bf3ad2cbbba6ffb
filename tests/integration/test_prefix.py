# SPDX-License-Identifier: Apache-2.0
"""The service at the root and under a prefix, behind nginx, lighttpd and Apache, and who may do what."""

import json

import httpx
import pytest

from harness.http_client import Exchange, Turn
from harness.web_servers import Nginx

PLAIN = "Hello, world! Grüße 😀\nBye."
ADMIN = [("POST", "/refresh"), ("POST", "/select_model?deploy_id=d1"), ("POST", "/refresh_config"), ("GET", "/test_llm")]
PUBLIC = {"X-Forwarded-For": "203.0.113.7"}
PLACES = ["nginx root", "nginx root, /agent", "nginx /agent", "lighttpd root", "lighttpd root, /agent", "lighttpd /agent",
          "apache root", "apache root, /agent", "apache /agent", "nginx /my/chat", "lighttpd /my/chat", "apache /my/chat"]


@pytest.fixture(scope="module")
def one(shared):
    service, llm = shared.one()
    root, prefix = service.start_lighttpd("50-tt-agent-root.conf"), service.start_lighttpd("50-tt-agent.conf")
    mine = service.testbed.keep(Nginx(service.testbed, "nginx-mine", service.socket, path="/my/chat"))
    mine_lighttpd = service.start_lighttpd("50-tt-agent.conf", path="/my/chat")
    apache, apache_prefix = service.start_apache(), service.start_apache("tt-agent.conf")
    mine_apache = service.start_apache("tt-agent.conf", path="/my/chat")
    hosts = {"nginx root": (service.nginx.root, ""), "nginx root, /agent": (service.nginx.root, "/agent"),
             "nginx /agent": (service.nginx.prefix, "/agent"), "lighttpd root": (root.host, ""),
             "lighttpd root, /agent": (root.host, "/agent"), "lighttpd /agent": (prefix.host, "/agent"),
             "apache root": (apache.host, ""), "apache root, /agent": (apache.host, "/agent"),
             "apache /agent": (apache_prefix.host, "/agent"), "apache /my/chat": (mine_apache.host, "/my/chat"),
             "nginx /my/chat": (mine.prefix, "/my/chat"), "lighttpd /my/chat": (mine_lighttpd.host, "/my/chat")}
    return service, hosts


def call(one, place, method, path, body=None, **headers):
    host, prefix = one[1][place]
    return httpx.request(method, f"http://{host}{prefix}{path}", json=body, headers=headers, verify=False, trust_env=False, timeout=30)


@pytest.mark.parametrize("place", PLACES)
def test_every_endpoint_answers(one, place):
    for root in ("/", "", "?x=y"):
        assert call(one, place, "GET", root).json()["status"] == "ready"
    assert call(one, place, "GET", "/status").json()["status"] == "ready"
    assert call(one, place, "GET", "/status/").json()["status"] == "ready"
    for method, path in ADMIN:
        answer = call(one, place, method, path)
        assert answer.status_code == 200 and answer.json()["status"] == "success", answer.text


@pytest.mark.parametrize("place", PLACES)
def test_a_turn_is_streamed(one, place):
    host, prefix = one[1][place]
    turn = Turn(Exchange(host, "POST", f"{prefix}/poll_requests", {"message": "[plain]", "thread_id": place}))
    assert turn.whole and turn.text == PLAIN, turn.chunks


@pytest.mark.parametrize("place", PLACES)
def test_words_come_one_by_one(one, place):
    host, prefix = one[1][place]
    message = "[[" + json.dumps({"tokens": 4, "delay_us": 60000}) + "]]"
    turn = Turn(Exchange(host, "POST", f"{prefix}/poll_requests", {"message": message, "thread_id": "w"}))
    assert len(turn.chunks) >= 5 and turn.times[0] + 0.1 < turn.times[-1], turn.times


@pytest.mark.parametrize("place", PLACES)
def test_unknown_paths_and_methods(one, place):
    for path in ("/nope", "/x/refresh", "/status/more", "/agentfoo"):
        assert call(one, place, "GET", path).status_code == 404, path
    answer = call(one, place, "GET", "/poll_requests")
    assert answer.status_code == 405 and answer.headers["allow"] == "POST"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method,path", ADMIN)
def test_a_public_client_may_not_change_anything(one, place, method, path):
    for form in (path, path.replace("?", "/?") if "?" in path else path + "/"):
        answer = call(one, place, method, form, **PUBLIC)
        assert answer.status_code == 403, f"{form}: {answer.status_code} {answer.text}"
        assert "TT_AGENT_ADMIN" in answer.json()["detail"]


@pytest.mark.parametrize("place", PLACES)
def test_a_public_client_may_chat_and_look(one, place):
    assert call(one, place, "GET", "/status", **PUBLIC).status_code == 200
    assert call(one, place, "POST", "/poll_requests", {"message": "[plain]", "thread_id": "p"}, **PUBLIC).status_code == 200


def test_a_client_cannot_name_itself_admin(one):
    answer = call(one, "nginx root", "POST", "/refresh", **PUBLIC, **{"TT-AGENT-ADMIN": "1", "TT_AGENT_ADMIN": "1"})
    assert answer.status_code == 403


def test_a_site_next_to_the_prefix_is_left_alone(one):
    host = one[1]["nginx /agent"][0]
    assert httpx.get(f"http://{host}/agentfoo", verify=False, trust_env=False).text == "another site"
    assert httpx.get(f"http://{host}/status", verify=False, trust_env=False).text == "another site"


@pytest.mark.parametrize("place", PLACES)
def test_an_encoded_slash_is_refused(one, place):
    assert call(one, place, "GET", "/%2Fstatus").status_code in (400, 404)


# What a regular expression of a web server may take for the end of a line, or of the text.
ENDS = ["%0a", "%0d", "%0d%0a", "%0a%0a", "%0b", "%0c", "%85", "%c2%85", "%e2%80%a8"]


@pytest.mark.parametrize("place", PLACES)
def test_the_end_of_a_line_is_a_part_of_the_path(one, place):
    host, prefix = one[1][place]
    for end in ENDS:
        for path in (end, f"{end}/status", f"/{end}", f"/{end}X", f"/{end}/status", f"/status{end}", f"/status/{end}", f"/status{end}X", f"/config{end}"):
            answer = Exchange(host, "GET", prefix + path, headers={"Connection": "close"}).head()
            assert answer.status in (400, 403, 404) or answer.read() == b"another site", f"{path}: {answer.status}"


def test_the_clients_request_id_comes_back(one):
    answer = call(one, "nginx root", "GET", "/", **{"X-Request-Id": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"
    strange = call(one, "nginx root", "GET", "/", **{"X-Request-Id": "a b\tc" + "x" * 500})
    assert strange.headers["x-request-id"] and "x" * 100 not in strange.headers["x-request-id"]
