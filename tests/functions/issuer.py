"""A token issuer in place of Google: it signs ID tokens and App Check tokens and publishes the keys.

The Auth emulator's tokens are unsigned, and their expiry is not checked; App Check has no emulator.
"""

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from emulators.environment import PROJECT

KEY_ID = "key-1"


class Issuer:
    """Signs tokens with its own key. One whose key is not published is a forger."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private_pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def id_token(self, *, age: int = 0, **claims: object) -> str:
        """An ID token, valid for an hour, that was issued `age` seconds ago."""
        now = int(time.time()) - age
        good = {"iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT, "sub": "user"}
        return self._signed(good | {"iat": now, "auth_time": now, "exp": now + 3600} | claims)

    def app_check_token(self, *, age: int = 0, **claims: object) -> str:
        """An App Check token, valid for an hour, that was issued `age` seconds ago."""
        now = int(time.time()) - age
        good = {
            "iss": "https://firebaseappcheck.googleapis.com/1",
            "aud": [f"projects/{PROJECT}"],
            "sub": "app",
        }
        return self._signed(good | {"iat": now, "exp": now + 3600} | claims)

    def certificates(self) -> dict[str, str]:
        """The certificates for ID tokens, in the form in which Google publishes them."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(self._key, hashes.SHA256())
        )
        return {KEY_ID: certificate.public_bytes(serialization.Encoding.PEM).decode()}

    def key_set(self) -> dict[str, object]:
        """The keys for App Check tokens, in the form in which Google publishes them."""
        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def _signed(self, claims: dict[str, object]) -> str:
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})


@contextmanager
def published(issuer: Issuer) -> Iterator[str]:
    """Serve the issuer's public keys for the duration of a with block; yields the address."""
    answers = {"/certificates": issuer.certificates(), "/keys": issuer.key_set()}

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "public, max-age=3600")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
