# SPDX-License-Identifier: Apache-2.0
"""HAProxy, Varnish, Traefik and another nginx before the web server, set up as doc/operations.md says; only with --long.
Traefik is in no Debian release: it is tested where there is one."""

import json
import os
import re
import shutil
import statistics

import httpx
import pytest

from harness.http_client import Exchange, Turn
from harness.llm_script import said, words
from harness.process import SOURCE, Process, wait_until
from harness.web_servers import reserved

pytestmark = pytest.mark.long
PROGRAMS = {"haproxy": "/usr/sbin/haproxy", "varnish": "/usr/sbin/varnishd", "nginx": "/usr/sbin/nginx", "traefik": "traefik"}
STATS = re.compile(r"\[STATS\](\{[^{}]*\})")


def example(first_line):
    """The indented text of doc/operations.md that begins with this line."""
    lines = (SOURCE / "doc" / "operations.md").read_text().splitlines()
    begin = lines.index("    " + first_line)
    end = next(n for n in range(begin, len(lines)) if lines[n] and not lines[n].startswith("    "))
    return "\n".join(line[4:] for line in lines[begin:end]) + "\n"


def replace(text, changes):
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the example"
        text = text.replace(old, str(new))
    return text


def argv(name, directory, port, to):
    """to: HOST:PORT of the web server."""
    config, host = directory / "config", to.rsplit(":", 1)
    if name == "haproxy":
        config.write_text(replace(example("defaults"), {"bind :8081": f"bind 127.0.0.1:{port}", "127.0.0.1:80\n": f"{to}\n"}))
        return ["-db", "-f", config]
    if name == "varnish":
        config.write_text(replace(example("vcl 4.1;"), {'.port = "80"': f'.port = "{host[1]}"'}))
        jail = ["-j", "none"] if os.getuid() == 0 else []
        return [*jail, "-F", "-a", f"127.0.0.1:{port}", "-f", config, "-n", directory / "varnish", "-s", "default,32m"]
    if name == "nginx":
        location = replace(example("location /agent {"), {"http://127.0.0.1:80": f"http://{to}"})
        user = "user root;" if os.getuid() == 0 else ""
        paths = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config.write_text(f"daemon off; {user} pid {directory}/pid; error_log stderr warn; events {{ }}\n"
                          f"http {{ access_log off; {paths}\nserver {{ listen 127.0.0.1:{port};\n{location}}}\n}}\n")
        return ["-e", "stderr", "-p", directory, "-c", config]
    config.with_suffix(".yml").write_text(replace(example("http:"), {"http://127.0.0.1:80": f"http://{to}"}))
    return [f"--entrypoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={config}.yml", "--log.level=ERROR",
            "--global.checknewversion=false", "--global.sendanonymoususage=false"]


class Proxy:
    """In front of the web server at that HOST:PORT."""

    def __init__(self, testbed, name, to):
        directory = testbed.directory / f"front-{name}"
        directory.mkdir()
        port = testbed.client(reserved()).getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.process = Process(f"front-{name}", [shutil.which(PROGRAMS[name]), *argv(name, directory, port, to)], directory, env={"HOME": directory})

    def answers(self):
        assert self.process.alive(), self.process.log()
        try:
            return httpx.get(f"http://{self.host}/agent/", trust_env=False).json()["status"] == "ready"
        except (httpx.TransportError, ValueError):
            return False

    def stop(self):
        return self.process.stop()


@pytest.fixture(scope="module", params=PROGRAMS)
def front(request, shared):
    """(service, llm, HOST:PORT of the proxy, its name)"""
    if shutil.which(PROGRAMS[request.param]) is None:
        pytest.skip(f"{request.param} is not installed")
    service, llm = shared.one()
    proxy = shared.keep(Proxy(shared, request.param, service.nginx.prefix))
    wait_until(proxy.answers, f"{request.param} answers", 60)
    return service, llm, proxy.host, request.param


def ask(host, message, thread_id="t"):
    return Exchange(host, "POST", "/agent/poll_requests", {"message": message, "thread_id": thread_id})


def complete(turn):
    """The statistics are at the end, but not always in a chunk of their own."""
    found = STATS.findall(turn.body)
    return not turn.cut and len(found) == 1 and turn.body.endswith(found[0]) and json.loads(found[0])["tokens_decoded"] > 0


def test_words_come_one_by_one(front):
    turn = Turn(ask(front[2], words(8, delay_us=200000)))
    assert complete(turn) and turn.text == said(8), turn.chunks
    gaps = [b - a for a, b in zip(turn.times, turn.times[1:])]
    assert len(turn.chunks) >= 8 and statistics.median(gaps) > 0.1, turn.times


def test_answers_are_whole(front):
    exchanges = [ask(front[2], words(200), f"t{n}") for n in range(30)]
    for turn in map(Turn, exchanges):
        assert complete(turn) and turn.text == said(200)


def test_how_often_the_statistics_are_in_one_chunk_with_the_last_word(front):
    merged = [t for t in (Turn(ask(front[2], words(1))) for _ in range(200)) if not t.whole]
    print(f"{front[3]}: [STATS] is not alone in {len(merged)} of 200 quick answers")
    assert all(map(complete, merged))
    direct = [Turn(ask(front[0].nginx.prefix, words(1))) for _ in range(200)]
    assert all(t.whole for t in direct), "the web server itself keeps them alone"


def test_who_leaves_is_noticed(front):
    _, llm, host, _ = front
    exchange = ask(host, words(3000, delay_us=20000)).head()
    wait_until(lambda: llm.stats()["active"] == 1, "a turn runs")
    exchange.close()
    wait_until(lambda: llm.stats()["active"] == 0, "the LLM is free")


def test_rights_follow_the_clients_address(front):
    _, _, host, name = front
    request = lambda **headers: httpx.post(f"http://{host}/agent/refresh", headers=headers, trust_env=False, timeout=30).status_code
    assert request() == 200  # this client is a private address
    # Traefik removes the header of clients that it does not know as proxies.
    assert request(**{"X-Forwarded-For": "203.0.113.7"}) == (200 if name == "traefik" else 403)
    assert request(**{"X-Forwarded-For": "unknown"}) == (200 if name == "traefik" else 403)
    direct = httpx.post(f"http://{front[0].nginx.prefix}/agent/refresh", headers={"X-Forwarded-For": "203.0.113.7"}, trust_env=False)
    assert direct.status_code == 403


def test_other_endpoints_and_long_bodies(front):
    host = front[2]
    assert httpx.get(f"http://{host}/agent/status", trust_env=False).json()["status"] == "ready"
    assert httpx.get(f"http://{host}/agent/nope", trust_env=False).status_code == 404
    turn = Turn(ask(host, "x" * (2 << 20)))
    assert turn.status == 200 and turn.text.startswith("This message is too long"), turn.chunks
