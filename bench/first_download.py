"""What a download takes in a process that has made none: `python -m bench.first_download URL`."""

import sys
import time

import requests


def download(session: requests.Session, url: str) -> bytes:
    """Return what is stored, as it is stored."""
    with session.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        return bytes(answer.raw.read(decode_content=False))


if __name__ == "__main__":
    session = requests.Session()
    began = time.perf_counter()
    download(session, sys.argv[1])
    print(time.perf_counter() - began)
