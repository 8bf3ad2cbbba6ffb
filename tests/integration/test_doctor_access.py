# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl doctor: what is wrong with API keys, tokens, the API and who may use it from where."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from harness.doctor import CONF, doctor, expect, start
from harness.front import Front, ask_alone, through
from harness.issuer import Issuer, Key
from harness.process import SOURCE, wait_until

root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
KEYED = CONF + 'http: { api = true; };\naccess: { require = "%s"; keys_file = "%s"; };\n'


@pytest.fixture(scope="module")
def keyed(shared):
    """A service that wants keys, and its file of keys, with one."""
    file = shared.directory / "keys.jsonl"
    service = start(shared, conf=KEYED % ("api", file))
    service.file = file
    service.conf.chmod(0o640)
    service.secrets.append(service.ctl("keys", "create", "ann")["key"])
    service.whole = file.read_text()
    return service


@pytest.fixture
def restored(keyed):
    """Whatever a test does to the files, the next one has the first."""
    yield keyed
    if keyed.conf.read_text() != KEYED % ("api", keyed.file):
        keyed.conf.write_text(KEYED % ("api", keyed.file))
        keyed.ctl("reload")
    keyed.file.write_text(keyed.whole)
    keyed.file.chmod(0o640)
    if os.getuid() == 0:
        shutil.chown(keyed.file, "root", "root")


def add(service, *fields, name="bob"):
    """One more key; its record."""
    service.secrets.append(service.ctl("keys", "create", name, *fields)["key"])
    return json.loads(service.file.read_text().splitlines()[-1])


# --- the file of keys ---

def test_nothing_is_said_of_good_keys(restored):
    add(restored, "models=meta-llama/*,Llama-*", "expires=90d")
    add(restored, name="gone")
    restored.ctl("keys", "revoke", "gone")
    add(restored, name="rotated")
    restored.secrets.append(restored.ctl("keys", "rotate", "rotated", "1h")["key"])
    restored.file.write_text("# of the team\n\n" + restored.file.read_text())
    assert doctor(restored) == {}
    assert doctor(restored, "--url", restored.url) == {}


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o642])
def test_a_file_that_others_may_read_or_write_is_found(restored, mode):
    restored.file.chmod(mode)
    expect(restored, "keys_public", f"{restored.file}: others may write or read it", fix=f"chmod 640 {restored.file}")


@root
def test_a_file_of_another_user_is_found(restored):
    shutil.chown(restored.file, "nobody")
    expect(restored, "keys_public", "who could write any key into it", fix=f"chown root:root {restored.file}")


@pytest.mark.parametrize("plant", [lambda f: (f.unlink(), f.mkdir()), lambda f: f.write_bytes(b"#" * (17 << 20))], ids=["directory", "long"])
def test_what_is_no_file_of_keys_is_found(restored, plant):
    plant(restored.file)
    expect(restored, "keys_unreadable", str(restored.file), fix=f"chmod 640 {restored.file}")
    if restored.file.is_dir():
        restored.file.rmdir()


@pytest.mark.parametrize("line, words", [
    ("nonsense", "not a JSON object"),
    ("[]", "not a JSON object"),
    ('{"id":"x"}', "sha256 is missing"),
    ('{"id":"x","sha256":"12"}', "sha256: not 64 hex digits"),
    ('{"id":"x","sha256":"' + "0" * 64 + '","colour":1}', "unknown member 'colour'"),
    ('{"id":"x","sha256":"' + "0" * 64 + '","expires":"soon"}', "expires: not seconds since the epoch"),
])
def test_a_line_that_is_no_key_is_found(restored, line, words):
    restored.file.write_text("# a comment\n" + restored.whole + line + "\n")
    expect(restored, "key_malformed", f"{restored.file}:3: {words}", fix=f"editor +3 {restored.file}")


def test_a_second_key_of_a_name_is_found(restored):
    again = {**json.loads(restored.whole), "sha256": "ab" * 32}
    restored.file.write_text(restored.whole + json.dumps(again) + "\n")
    expect(restored, "key_malformed", "a second key of the id ann", fix=f"editor +2 {restored.file}")


def test_a_key_that_has_expired_is_found(restored):
    record = {**add(restored), "expires": int(time.time()) - 7200}
    restored.file.write_text(restored.whole + json.dumps(record) + "\n")
    expect(restored, "key_expired", "the key bob expired 2 h", fix="tt-agentctl keys delete bob")


@pytest.mark.parametrize("fields, words", [(["models=qwen*,gpt-4"], "may use qwen*, gpt-4"), (["models="], "may use no model")])
def test_a_key_for_models_that_there_are_not_is_found(restored, fields, words):
    add(restored, *fields)
    expect(restored, "key_models", f"the key bob {words}, and no LLM is called so", fix=f"tt-agentctl models; editor +2 {restored.file}")


@pytest.mark.parametrize("plant", [lambda f: f.unlink(), lambda f: f.write_text("# none yet\n")], ids=["missing", "empty"])
def test_a_service_that_wants_keys_and_has_none_is_found(restored, plant):
    plant(restored.file)
    expect(restored, "no_key", "access.require is api", "no valid key is in", fix="tt-agentctl keys create NAME")


@root
def test_a_file_that_the_service_may_not_read_is_found(unprivileged, testbed):
    file = testbed.directory / "keys.jsonl"
    service = unprivileged(conf=KEYED % ("all", file), prepare=lambda service: (file.write_text("#\n"), file.chmod(0o640)))
    expect(service, "keys_unreadable", "Permission denied (the service runs as nobody)", fix=f"chgrp nobody {file}; chmod 640 {file}")


# --- tokens ---

@pytest.fixture(scope="module")
def issuer(keyed):
    return keyed.testbed.client(Issuer([Key(keyed.directory, "k1", "ES256")]))


@pytest.fixture
def tokens(restored):
    """tokens(settings): the service takes them from now on."""
    def configure(settings):
        restored.conf.write_text((KEYED % ("api", restored.file)).removesuffix("};\n") + settings + " };\n")
        restored.ctl("reload")
        return restored
    return configure


def issued_by(url):
    return f'jwt_issuer = "https://idp.example"; jwt_audience = "agent"; jwt_jwks_url = "{url}";'


def failed(service):
    return wait_until(lambda: service.ctl("ping")["jwks_error"], "the keys were requested in vain")


def fetched(service):
    return wait_until((service.run / "jwks.json").exists, "the keys came")


def test_nothing_is_said_of_an_issuer_that_answers(tokens, issuer):
    service = tokens(issued_by(issuer.url))
    fetched(service)
    assert doctor(service) == {}
    service.file.unlink()  # tokens are enough
    assert doctor(service) == {}


@pytest.mark.parametrize("status, words", [(500, "HTTP 500"), (404, "HTTP 404")])
def test_an_issuer_that_fails_is_found(tokens, issuer, status, words):
    issuer.status, url = status, f"{issuer.url}?{status}"
    service = tokens(issued_by(url))
    issuer_says = failed(service)
    issuer.status = 200
    assert words in issuer_says
    expect(service, "jwks_failed", f"{url}: {words}; no token that they signed is accepted", fix=f"curl -sS {url}")


def test_an_issuer_that_is_not_there_is_found(tokens, testbed):
    service = tokens(issued_by(f"http://127.0.0.1:{testbed.closed_port()}/jwks"))
    failed(service)
    expect(service, "jwks_failed", "onnection refused", fix="set access.jwt_jwks_url")


def test_an_issuer_without_a_usable_key_is_found(tokens, issuer):
    keys, issuer.keys = issuer.keys, []
    service = tokens(issued_by(f"{issuer.url}?none"))
    failed(service)
    issuer.keys = keys
    expect(service, "jwks_unusable", "none of its 0 keys can be used", fix="curl -sS ")


def test_an_issuer_whose_answer_is_no_set_of_keys_is_found(tokens, keyed):
    with Front(lambda method, path, body: (200, {"Content-Type": "text/html"}, [b"<html>Sign in</html>"])) as url:
        service = tokens(issued_by(f"{url}/jwks"))
        failed(service)
        expect(service, "jwks_unusable", "not a JSON object with a list of keys", fix="curl -sS ")


def test_keys_that_were_not_requested_for_long_are_found(tokens, issuer):
    service = tokens(issued_by(f"{issuer.url}?old"))
    fetched(service)
    hour_ago = time.time() - 3600
    os.utime(service.run / "jwks.json", (hour_ago, hour_ago))
    expect(service, "jwks_old", "was last requested 1 h", fix="systemctl restart tt-agentd")


@pytest.mark.parametrize("settings, missing", [
    ('jwt_audience = "agent"; jwt_secret = "0123456789012345678901234567890123456789";', "access.jwt_issuer"),
    ('jwt_issuer = "https://idp.example"; jwt_jwks_url = "http://127.0.0.1:9/";', "access.jwt_audience"),
    ('jwt_issuer = "https://idp.example"; jwt_audience = "agent";', "access.jwt_jwks_url")])
def test_settings_of_tokens_that_are_missing_are_found(tokens, settings, missing):
    expect(tokens(settings), "jwt_incomplete", f"no token is accepted without {missing}", fix=f"set {missing}")


# --- origins ---

@pytest.mark.parametrize("origin", ["https://*.example.org", "https://münchen.example", "https://chat.example.org:*", "http://chat.example.org:"])
@pytest.mark.parametrize("key", ["cors_origins", "origins"])
def test_an_origin_that_no_page_has_is_found(restored, key, origin):
    conf = restored.conf
    conf.write_text(conf.read_text().replace("http: { ", f'http: {{\n{key} = [ "https://good.example:8443", "http://[::1]:80", "{origin}" ]; '))
    restored.ctl("reload")
    expect(restored, "origin_unmatched", f'http.{key} ({conf}:4): "{origin}": no web page has this origin', fix=f"editor +4 {conf}")


@pytest.mark.parametrize("origin", ["https://chat.example.org/", "chat.example.org", "*", "https://chat.example.org/path", "ftp://x", "null",
                                    "https://a.example,https://b.example"])
def test_an_origin_that_is_none_is_refused_with_its_line(restored, origin):
    conf = restored.conf
    conf.write_text(conf.read_text().replace("http: { ", f'http: {{\ncors_origins = [ "{origin}" ]; '))
    expect(restored, "config_refused", "http.cors_origins", "is not the origin of a web page", fix=f"editor +4 {conf}")


# --- the API through the web server ---

def test_a_web_server_that_does_not_pass_the_api_on_is_found(keyed):
    html = 404, {"Content-Type": "text/html"}, [b"<html>nginx</html>"]
    with through(keyed, lambda headers, body: (headers, [body]), lambda path: html if path.startswith("/v1") else None) as url:
        expect(keyed, "url_no_api", f"{url}/v1/models: HTTP 404, text/html", fix="include snippets/tt-agent-locations.conf", words=["--url", url])


@root
def test_files_of_the_web_server_without_the_api_are_found(keyed, tmp_path):
    if not Path("/etc/nginx").is_dir():
        pytest.skip("nginx is not installed")
    before = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/nginx && exec "$@"', str(tmp_path)]
    (tmp_path / "snippets").mkdir()
    for name, line in ("tt-agent-locations.conf", "location ^~ /agent/ {"), ("tt-agent-root.conf", "location / {"):
        text = (SOURCE / "deploy/nginx" / name).read_text()
        file = tmp_path / "snippets" / name
        file.write_text(text)
        assert doctor(keyed, before=before) == {}
        file.write_text(text.replace(line, "location = /agent/poll_requests {"))
        expect(keyed, "drop_in_old", "the API below /v1 is passed on", fix="cp the file", before=before)
        file.unlink()


@root
def test_an_api_that_everybody_on_the_internet_can_use_is_found(testbed, tmp_path):
    service = start(testbed, conf=CONF + "http: { api = true; };\n")
    models = service.http.get("/v1/models").json()
    for address, expected in ("8.8.4.4", {"api_public"}), ("10.1.2.3", set()):
        found = ask_alone(service, tmp_path, address, {"root": service.http.get("/").json(), "status": {"status": "initializing"}, "models": models})
        assert set(found) == {"backend_down", *expected}, found
        if expected:
            assert "wants no key" in found["api_public"]["message"] and 'set access.require = "api"' in found["api_public"]["fix"]
