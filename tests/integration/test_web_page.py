# SPDX-License-Identifier: Apache-2.0
"""The web page as it is served: behind every web server, to whom, with which headers."""

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess

import httpx
import pytest
from harness import fastcgi
from harness.http_client import Exchange
from harness.process import SOURCE

PUBLIC = {"X-Forwarded-For": "203.0.113.7"}
PLACES = ["nginx", "nginx /agent", "lighttpd", "lighttpd /agent", "apache", "apache /agent"]
LIMIT = 60 << 10


@pytest.fixture(scope="module")
def one(shared):
    service, _ = shared.one()
    return service


@pytest.fixture(scope="module")
def hosts(one):
    return {"nginx": (one.host, ""), "nginx /agent": (one.nginx.prefix, "/agent"),
            "lighttpd": (one.host_of("lighttpd"), ""), "lighttpd /agent": (one.start_lighttpd("50-tt-agent.conf").host, "/agent"),
            "apache": (one.host_of("apache"), ""), "apache /agent": (one.start_apache("tt-agent.conf").host, "/agent")}


def ask(host, path, method="GET", **headers):
    """The answer as it is on the wire, not decompressed."""
    x = Exchange(host, method, path, None, {"Content-Type": None, **{k.replace("_", "-"): v for k, v in headers.items()}}).head()
    x.body = b"" if method == "HEAD" or x.status == 304 else x.read()
    x.close()
    return x


@pytest.mark.parametrize("place", PLACES)
def test_the_page_is_served(hosts, place):
    host, prefix = hosts[place]
    plain = ask(host, f"{prefix}/ui/")
    assert plain.status == 200 and plain.headers["content-type"] == "text/html; charset=utf-8"
    assert plain.body == (SOURCE / "ui" / "index.html").read_bytes() and "content-encoding" not in plain.headers
    packed = ask(host, f"{prefix}/ui/", Accept_Encoding="gzip, deflate, br")
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    assert len(packed.body) <= LIMIT
    assert ask(host, f"{prefix}/ui/", Accept_Encoding="gzip;q=0, identity").body == plain.body
    for answer in plain, packed:
        assert answer.headers["vary"].lower() == "accept-encoding" and answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-frame-options"] == "DENY" and answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["x-request-id"]
    assert plain.headers["etag"] != packed.headers["etag"]


@pytest.mark.parametrize("place", PLACES)
def test_a_page_that_the_browser_has_is_not_sent_again(hosts, place):
    host, prefix = hosts[place]
    for coding in "identity", "gzip":
        tag = ask(host, f"{prefix}/ui/", Accept_Encoding=coding).headers["etag"]
        again = ask(host, f"{prefix}/ui/", Accept_Encoding=coding, If_None_Match=f'"other", W/{tag}')
        assert again.status == 304 and again.body == b"" and again.headers["etag"] == tag
        assert "content-encoding" not in again.headers
        assert ask(host, f"{prefix}/ui/", Accept_Encoding=coding, If_None_Match='"other"').status == 200


@pytest.mark.parametrize("place", PLACES)
def test_its_address_ends_with_a_slash(hosts, place):
    host, prefix = hosts[place]
    for query in "", "?x=y":
        answer = ask(host, f"{prefix}/ui{query}")
        assert answer.status == 302
        to = httpx.URL(f"http://{host}{prefix}/ui{query}").join(answer.headers["location"])
        assert to == f"http://{host}{prefix}/ui/", answer.headers
    assert ask(host, f"{prefix}/ui/nope").status == 404


@pytest.mark.parametrize("place", PLACES)
def test_methods(hosts, place):
    host, prefix = hosts[place]
    whole = ask(host, f"{prefix}/ui/", Accept_Encoding="gzip")
    head = ask(host, f"{prefix}/ui/", "HEAD", Accept_Encoding="gzip")
    assert head.status == 200 and head.headers["etag"] == whole.headers["etag"]
    for path in "/ui/", "/ui", "/ui/session", "/config", "/models":
        answer = ask(host, prefix + path, "POST")
        assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD", path


def test_nothing_but_the_page_itself_is_run_or_loaded(one):
    answer = ask(one.host, "/ui/")
    text = answer.body.decode()
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'" and policy["img-src"] == "data:"
    for closed in "base-uri", "form-action", "frame-ancestors":
        assert policy[closed] == "'none'"
    for tag in "script", "style":
        contents = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", text, re.S)
        assert len(contents) == 1
        digest = base64.b64encode(hashlib.sha256(contents[0].encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    markup = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.S)
    assert not re.search(r"\s(style|on\w+|src|srcset|action|formaction)=", markup)
    assert set(re.findall(r'href="([^"#]*)', markup)) <= {"", *re.findall(r'href="(data:image/svg\+xml,[^"]*)"', markup)}
    outside = set(re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+", re.sub(r"//.*github.*", "", text)))
    assert {u for u in outside if u.startswith(("http", "ws"))} <= {"http://www.w3.org"}  # the name of SVG


def test_text_never_becomes_markup(one):
    script = re.search(r"<script>(.*)</script>", ask(one.host, "/ui/").body.decode(), re.S)[1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|createContextualFragment|srcdoc", script)


def test_its_script_is_valid(one, tmp_path):
    if not shutil.which("node"):
        pytest.skip("there is no node")
    script = re.search(r"<script>(.*)</script>", ask(one.host, "/ui/").body.decode(), re.S)[1]
    (tmp_path / "page.js").write_text(script)
    done = subprocess.run(["node", "--check", str(tmp_path / "page.js")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- to whom ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_the_page_is_for_admins(hosts, place):
    host, prefix = hosts[place]
    for path in "/ui/", "/ui", "/ui/session":
        answer = ask(host, prefix + path, **PUBLIC)
        assert answer.status == 403 and "http.ui" in json.loads(answer.body)["detail"]
    for path in "/config", "/models":
        answer = ask(host, prefix + path, **PUBLIC)
        assert answer.status == 403 and "TT_AGENT_ADMIN" in json.loads(answer.body)["detail"]
    assert json.loads(ask(host, f"{prefix}/ui/session").body)["admin"] is True


def session(service, **params):
    head, body = fastcgi.ask(service.socket, "GET", "/ui/session", **params)
    return head, json.loads(body)


def test_the_page_may_be_for_everybody(testbed):
    service, _ = testbed.one(sets=["http.ui=everybody", "http.public_status=brief"])
    assert ask(service.host, "/ui/", **PUBLIC).status == 200
    assert session(service, TT_AGENT_ADMIN="")[1]["admin"] is False
    assert session(service, TT_AGENT_ADMIN="1")[1]["admin"] is True
    assert session(service, TT_AGENT_ADMIN="1", HTTP_X_FORWARDED_FOR="unknown")[1]["admin"] is False
    assert ask(service.host, "/config", **PUBLIC).status == 403


def test_the_page_may_be_for_nobody(testbed):
    service, _ = testbed.one(sets=["http.ui=off"])
    for path in "/ui/", "/ui", "/ui/session":
        assert ask(service.host, path).status == 404
    assert ask(service.host, "/status").status == 200


def test_the_page_needs_no_key_but_all_that_it_requests(testbed):
    service = testbed.service(sets=["access.require=all", f"access.keys_file={testbed.directory}/keys.jsonl", "http.ui=everybody"])
    assert ask(service.host, "/ui/").status == 200
    for path in "/ui/session", "/config", "/models":
        assert ask(service.host, path).status == 401


FOREIGN = [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"},
           {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
           {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"},
           {"Origin": "http://evil.example", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}]


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_pages_of_other_sites_may_only_link_to_it(one, server):
    host = one.host_of(server)
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert ask(host, "/ui/", **link).status == ask(host, "/ui/", Sec_Fetch_Site="none").status == 200
    assert ask(host, "/ui/session", **link).status == ask(host, "/config", **link).status == 403
    for headers in FOREIGN:
        for path in "/ui/", "/ui/session", "/config", "/models":
            assert ask(host, path, **headers).status == 403, (path, headers)


# ---- what admins see of the settings and models -----------------------------------------------------


def test_settings_are_shown_with_their_origin_and_without_secrets(one):
    answer = ask(one.host, "/config")
    settings = json.loads(answer.body)
    assert settings == one.ctl("config")
    assert settings["auth.jwt_secret"] == {"value": None, "secret": True, "set": True, "origin": "environment JWT_SECRET"}
    assert settings["http.ui"] == {"value": "admins", "origin": "default"}
    assert not [secret for secret in one.secrets if secret in answer.body.decode()]


def test_models_are_shown_with_their_reasons(one):
    models = json.loads(ask(one.host, "/models").body)["models"]
    assert models == one.ctl("models")["models"]
    assert [m["status"] for m in models if m["kind"] == "local"] == ["unhealthy"]


def test_without_the_daemon_the_page_is_still_served(testbed):
    service, _ = testbed.one()
    service.daemon.kill()
    assert ask(service.host, "/ui/").status == ask(service.host, "/ui/session").status == 200
    assert json.loads(ask(service.host, "/config").body) == {"status": "error", "message": "tt-agentd is not running"}
