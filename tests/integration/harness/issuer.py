# SPDX-License-Identifier: Apache-2.0
"""An issuer of signed tokens (JWT): its keys, and the server that publishes them."""

import base64
import hashlib
import hmac
import http.server
import json
import re
import subprocess
import threading
import time


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *arguments], input=given, check=True, capture_output=True).stdout


class Key:
    def __init__(self, directory, kid, algorithm):
        self.kid, self.algorithm, self.file = kid, algorithm, str(directory / f"{kid}.pem")
        kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "RS256" else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("genpkey", "-algorithm", *kind, "-out", self.file)

    def public(self):
        """As a member of a JWKS."""
        common = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "RS256":
            modulus = openssl("rsa", "-in", self.file, "-noout", "-modulus").decode().split("=")[1].strip()
            return {"kty": "RSA", "n": b64(bytes.fromhex(modulus)), "e": "AQAB", **common}
        point = openssl("ec", "-in", self.file, "-pubout", "-outform", "DER")[-64:]
        return {"kty": "EC", "crv": "P-256", "x": b64(point[:32]), "y": b64(point[32:]), **common}

    def sign(self, text):
        signature = openssl("dgst", "-sha256", "-sign", self.file, given=text)
        if self.algorithm == "RS256":
            return signature
        numbers = re.findall(r":([0-9A-F]+)\n", openssl("asn1parse", "-inform", "DER", given=signature).decode())
        return b"".join(bytes.fromhex(n.rjust(64, "0"))[-32:] for n in numbers)


def token(claims, key=None, secret=None, **header):
    """Signed by key, or with a secret (HS256)."""
    header = {"alg": key.algorithm if key else "HS256", **({"kid": key.kid} if key else {}), **header}
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, claims)).encode()
    signature = key.sign(text) if key else hmac.new(secret, text, hashlib.sha256).digest()
    return f"{text.decode()}.{b64(signature)}"


def claims(subject="ann", seconds=600, **more):
    return {"iss": "https://idp.example", "aud": "agent", "sub": subject, "exp": int(time.time()) + seconds, **more}


class Issuer:
    """Serves its keys; counts how often they are requested."""

    def __init__(self, keys):
        self.keys, self.fetches, self.status = keys, 0, 200
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.fetches += 1
                body = json.dumps({"keys": [k.public() for k in issuer.keys]}).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
