"""A process that sends what is due, at a word: `-m tests.collectors.sender URL`. No engine is between."""

import sys

from shared import firebase
from tests.collectors.fleet import send_alone


def main(url: str) -> None:
    """Say "ready", wait for a line, send, and say how many were sent."""
    client = firebase.firestore_client()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    print(send_alone(client, url)["sent"])  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
