# SPDX-License-Identifier: Apache-2.0
"""Tokens that an issuer signed (JWT), in place of API keys."""

import json
import random
import threading
import time

import pytest
from harness import fastcgi
from harness.issuer import Issuer, Key, b64, claims, openssl, token
from harness.process import wait_until

SECRET = "an-issuers-secret-of-more-than-32-bytes"
SETS = ["access.require=all", "access.jwt_issuer=https://idp.example", "access.jwt_audience=agent"]


def status(service, text, path="/status"):
    head, body = fastcgi.ask(service.socket, "GET", path, HTTP_AUTHORIZATION=f"Bearer {text}")
    first = head.split("\n")[0]
    return int(first.split()[1]) if first.startswith("Status") else 200


def accepted(service, text):
    wait_until(lambda: status(service, text) == 200, "the issuer's keys are known")


def world(testbed, **more):
    """(service, issuer, its RSA and EC key)"""
    keys = [Key(testbed.directory, "rsa-1", "RS256"), Key(testbed.directory, "ec-1", "ES256")]
    issuer = testbed.client(Issuer(keys))
    sets = [*SETS, f"access.jwt_jwks_url={issuer.url}", f"access.keys_file={testbed.directory}/keys.jsonl", *more.pop("sets", [])]
    service, llm = testbed.one({"text": ["yes"]}, sets=sets, env={"AGENT_ACCESS_JWT_SECRET": SECRET}, **more)
    service.llm = llm
    for key in keys:
        accepted(service, token(claims(), key))
    return service, issuer, keys


@pytest.fixture(scope="module")
def issued(shared):
    return world(shared)


def test_tokens_of_the_issuer_are_taken(issued):
    service, _, (rsa, ec) = issued
    for text in token(claims(), rsa), token(claims(), ec), token(claims(), secret=SECRET.encode()), token(
            claims(aud=["other", "agent"], nbf=int(time.time()) - 5), rsa):
        service.secrets.append(text)
        for _ in range(2):  # the second time it is remembered
            assert status(service, text) == 200


def test_each_user_of_tokens_has_conversations_of_his_own(issued):
    service, _, (rsa, _) = issued
    for user, word in ("ann", "first"), ("bob", "second"), ("ann", "third"):
        body = json.dumps({"message": word, "thread_id": "of-tokens-1234"}).encode()
        text = token(claims(user), rsa)
        assert b"[STATS]" in fastcgi.ask(service.socket, "POST", "/poll_requests", body, HTTP_AUTHORIZATION=f"Bearer {text}")[1]
    said = [[m["content"] for m in r["body"]["messages"] if m["role"] == "user"] for r in service.llm.chats()[-3:]]
    assert said == [["first"], ["second"], ["first", "third"]]


def forged(issuer, rsa, other):
    public = json.dumps(rsa.public()).encode()
    public_pem = openssl("rsa", "-in", rsa.file, "-pubout")
    good = token(claims(), rsa)
    head, body, signature = good.split(".")
    none = b64(b'{"alg":"none"}')
    return [
        token(claims(), other), token(claims(), other, kid="rsa-1"), token(claims(), secret=b"guessed"), token(claims(), secret=public),
        token(claims(), secret=open(rsa.file, "rb").read(), kid="rsa-1"), token(claims(), secret=public_pem, kid="rsa-1"),
        token(claims(), secret=public_pem), token(claims(), secret=public_pem.strip()), token(claims(aud="other"), rsa), token(claims(aud=[]), rsa),
        token(claims(iss="https://evil.example"), rsa), token(claims(seconds=-3600), rsa), token(claims(nbf=time.time() + 3600), rsa),
        token({"iss": "https://idp.example", "aud": "agent", "sub": "ann"}, rsa), token(claims(""), rsa), token(claims("a\nb"), rsa),
        f"{none}.{body}.", f"{none}.{body}.{signature}", f"{head}.{body}.", f"{head}.{b64(json.dumps(claims('root')).encode())}.{signature}",
        good[:-2], good + "A", good.replace(".", "..", 1), f"{head}.{body}", "A" * 7000 + ".e30.e30"]


def test_no_forged_token_is_taken(issued, tmp_path):
    service, issuer, (rsa, _) = issued
    for text in forged(issuer, rsa, Key(tmp_path, "other", "RS256")):
        assert status(service, text) == 401, text


def test_a_token_that_expires_is_refused_from_then_on(issued):
    service, _, (rsa, _) = issued
    began = time.monotonic()
    text = token(claims(seconds=-27), rsa)  # the clocks may differ by 30 seconds
    assert status(service, text) == 200 or time.monotonic() - began > 2
    wait_until(lambda: status(service, text) == 401, "it has expired")


@pytest.mark.parametrize("count", [2000, pytest.param(10000, marks=pytest.mark.long)])
def test_forged_tokens_do_not_have_the_keys_fetched(testbed, count):
    """An issuer must not be asked for its keys whenever somebody makes up a key's name."""
    service, issuer, (rsa, _) = world(testbed, workers=2)
    before, began = issuer.fetches, time.monotonic()
    forged_ = token(claims(), rsa).split(".")

    def flood():
        for _ in range(count // 4):
            header = b64(json.dumps({"alg": "RS256", "kid": random.randbytes(8).hex()}).encode())
            assert status(service, f"{header}.{forged_[1]}.{forged_[2]}") == 401

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert issuer.fetches - before <= 1 + (time.monotonic() - began) // 30
    assert status(service, token(claims(), rsa)) == 200


def test_tokens_are_checked_without_the_daemon_and_the_issuer(testbed):
    service, issuer, (rsa, _) = world(testbed)
    issuer.status = 500
    assert service.daemon.stop() == 0
    assert status(service, token(claims("bob"), rsa)) == 200
    service.start_daemon()
    service.daemon.wait_log("jwks .*HTTP 500")
    assert status(service, token(claims("carl"), rsa)) == 200


@pytest.mark.long
def test_a_new_key_of_the_issuer_is_found(testbed):
    service, issuer, _ = world(testbed)
    new = Key(testbed.directory, "rsa-2", "RS256")
    issuer.keys.append(new)
    text = token(claims(), new)
    wait_until(lambda: status(service, text) == 200, "the new key is known", 60)
    issuer.keys[:] = [new]  # the others are withdrawn
    assert issuer.fetches <= 4
