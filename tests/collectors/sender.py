"""A process that sends the due messages without an engine: `python -m tests.collectors.sender URL`."""

import sys

from shared import firebase
from tests.collectors.fleet import send_alone


def main(url: str) -> None:
    """Print "ready", wait for a line, send, and print the number of sent messages."""
    client = firebase.firestore_client()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    print(send_alone(client, url)["sent"])  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
