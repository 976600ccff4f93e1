"""Signed URLs as on Cloud Run, signed by the IAM API (docs/contract.md, "Storage helpers")."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from functions.callable_endpoint import URL_SECONDS
from shared import tasks

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]
EMAIL = "functions@p.iam.gserviceaccount.com"
SIGNATURE = b"signed by IAM"


class Google(BaseHTTPRequestHandler):
    """The metadata server and the IAM API, as far as a signature needs them."""

    refuses = False
    busy = 0
    hangs: ClassVar[threading.Event | None] = None
    asked: ClassVar[list[tuple[str, str | None, Any]]] = []

    def do_GET(self) -> None:
        answers = {"": {}, "token": {"access_token": "t0ken", "expires_in": 3600, "token_type": "Bearer"}}
        account = {
            "email": EMAIL,
            "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
            "aliases": ["default"],
        }
        path = urlsplit(self.path).path.rstrip("/")
        if path.endswith("project/project-id"):
            self._answer(200, b"p", "text/plain")
        elif path.endswith("universe-domain"):
            self._answer(200, b"googleapis.com", "text/plain")
        else:
            self._answer(200, json.dumps(answers.get(path.rpartition("/")[2], account)).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        if type(self).hangs is not None:
            type(self).hangs.wait(100)
        elif type(self).busy:
            type(self).busy -= 1
            self._answer(503, b"{}")
        elif type(self).refuses:
            self._answer(403, b'{"error": {"status": "PERMISSION_DENIED"}}')
        else:
            self._answer(200, json.dumps({"signedBlob": base64.b64encode(SIGNATURE).decode()}).encode())

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def google() -> Iterator[str]:
    Google.refuses, Google.busy, Google.hangs = False, 0, None
    Google.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Google)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def sign(google: str, home: Path, *what: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "HOME": str(home),  # without the developer's credentials
        "PATH": "/usr/bin:/bin",
        "GCE_METADATA_HOST": google,
        "GCE_METADATA_IP": google,
        "NO_PROXY": "127.0.0.1",
    }
    command = [
        sys.executable,
        "-m",
        "tests.engine.signer",
        f"http://{google}",
        "tasks_data/x/r.t.json",
        *what,
    ]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_iam_signs_a_v4_url_for_seven_days(google: str, tmp_path: Path) -> None:
    """The URL has IAM's signature for the function's own account."""
    signed = sign(google, tmp_path)
    assert signed.returncode == 0, signed.stderr
    url = urlsplit(signed.stdout.strip())
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.hostname, url.path) == ("storage.googleapis.com", "/results/tasks_data/x/r.t.json")
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert query["X-Goog-Expires"] == str(7 * 24 * 3600)
    assert query["X-Goog-Credential"].startswith(f"{EMAIL}/")
    assert bytes.fromhex(query["X-Goog-Signature"]) == SIGNATURE
    [(path, authorization, body)] = Google.asked
    assert path.startswith(f"/v1/projects/-/serviceAccounts/{EMAIL}:signBlob")
    assert authorization == "Bearer t0ken"
    assert base64.b64decode(body["payload"]).startswith(b"GOOG4-RSA-SHA256")


def test_a_url_in_place_of_a_response_expires_after_a_quarter_of_an_hour(google: str, tmp_path: Path) -> None:
    """As the error details specify."""
    answered = sign(google, tmp_path, "answer")
    assert answered.returncode == 0, answered.stderr
    details = json.loads(answered.stdout.splitlines()[-1])
    assert parse_qs(urlsplit(details["url"]).query)["X-Goog-Expires"] == ["900"]
    assert details["expires_in_seconds"] == 900


def test_the_error_of_an_account_that_may_not_sign_names_the_role(google: str, tmp_path: Path) -> None:
    """It is a mistake of the deployment, not an outage of Storage."""
    Google.refuses = True
    refused = sign(google, tmp_path)
    assert refused.returncode != 0
    assert "ResultNotKept: no URL could be signed" in refused.stderr
    assert "the role nxTasksSigner on itself" in refused.stderr


def test_a_busy_iam_is_retried(google: str, tmp_path: Path) -> None:
    """A single 503 does not fail a run."""
    Google.busy = 1
    signed = sign(google, tmp_path)
    assert signed.returncode == 0, signed.stderr
    assert len(Google.asked) == 2


def test_a_hanging_iam_is_abandoned(google: str, tmp_path: Path) -> None:
    """Within the time limit of calls to Storage, 3 seconds here."""
    Google.hangs = threading.Event()
    refused = sign(google, tmp_path)
    Google.hangs.set()
    assert refused.returncode != 0
    assert "ResultNotKept: no URL could be signed" in refused.stderr
    assert len(Google.asked) == 1


def test_the_guaranteed_lifetime_of_a_url_is_documented() -> None:
    """IAM guarantees a signature for 12 hours; callables use less."""
    assert URL_SECONDS < 12 * 3600
    for function in (tasks.sign_result_url, tasks.keep_task_data_in_storage):
        assert "12 hours only" in str(function.__doc__)
    for page in ("docs/api.md", "docs/deploy.md"):
        assert "12 hours" in (ROOT / page).read_text("utf-8")
