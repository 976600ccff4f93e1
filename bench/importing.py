"""Time the import of `main.py` after the packages that every callable loads: `python -m bench.importing`."""

import time

from firebase_functions import https_fn  # noqa: F401  (hello-world imports it, too)
from google.cloud import firestore  # noqa: F401

from bench import production  # noqa: F401  (hides packages that an instance does not have)

if __name__ == "__main__":
    began = time.perf_counter()
    import main  # noqa: F401

    print(time.perf_counter() - began)
