"""What importing `main.py` takes beyond what any callable of use has loaded: `python -m bench.importing`."""

import time

from firebase_functions import https_fn  # noqa: F401  (that is hello-world's)
from google.cloud import firestore  # noqa: F401

from bench import production  # noqa: F401  (leaves out what an instance has not)

if __name__ == "__main__":
    began = time.perf_counter()
    import main  # noqa: F401

    print(time.perf_counter() - began)
