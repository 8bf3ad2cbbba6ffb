# SPDX-License-Identifier: Apache-2.0
"""What a service must never reveal: its secrets, tokens made from them, what users wrote."""

import re
import stat

import httpx

# Tests put it into prompts; no log may ever hold it.
PROMPT_MARK = "Quetzalcoatlus"
BEARER = re.compile(r"eyJ[\w-]{8,}")  # how each signed token begins


def leaks(where, text, secrets):
    """Sentences about which of these the text contains."""
    found = [f"{where} holds {secret!r}" for secret in [*secrets, PROMPT_MARK] if secret in text]
    return found + [f"{where} holds the token {token!r}" for token in BEARER.findall(text)]


def answers(service):
    """What the service tells everybody, if it still answers: where -> text."""
    texts = {}
    if service.nginx is None or not service.responder.alive():
        return texts
    try:
        for path in ("/", "/status", "/metrics"):
            texts[f"GET {path} of {service.name}"] = service.http.get(path, timeout=2).text
    except (httpx.HTTPError, RuntimeError):  # the test has stopped something, or closed the client
        pass
    return texts


def open_files(service):
    """What it publishes for its own user holds tokens: others must not read it."""
    files = [f for f in service.run.rglob("*") if f.is_file()]
    return [f"{f} has mode {stat.filemode(f.stat().st_mode)}" for f in files if f.stat().st_mode & 0o077]
