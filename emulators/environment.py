"""The addresses of a running stack, and the environment with which clients use only this stack."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulators.ocpi.operators import secret
from emulators.twilio.messages import ACCOUNT_SID, AUTH_TOKEN, MESSAGING_SERVICE_SID

#: A demo project, with which firebase-tools contacts no real service.
PROJECT = "demo-nx-tasks"
BUCKET = f"{PROJECT}.appspot.com"
#: The Cloud Tasks queue of long runs, as the product names it.
QUEUE = "nx-runs"
#: Defaults of the product's settings for the functions' region and the database.
REGION_AND_DATABASE = {"NX_TASKS_REGION": "us-central1", "NX_TASKS_DATABASE": "(default)"}
#: Files with settings of the local stack, in firebase-tools' order; later files override earlier ones.
_ENV_FILES = (".env", f".env.{PROJECT}", ".env.local")


#: Reset text by firmware prefix for the demo's devices.
RESET_TEXTS = '{"4.0.": "RESET", "": "#RESET#"}'


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of a running stack's parts, each as host:port."""

    auth: str
    firestore: str
    functions: str
    scheduler: str
    storage: str
    tasks: str
    hosting: str
    #: The Storage server: `official` or `fake-gcs`.
    storage_server: str
    ocpi: str
    twilio: str
    #: Region of the functions and their jobs.
    region: str = REGION_AND_DATABASE["NX_TASKS_REGION"]
    #: Id of the Firestore database.
    database: str = REGION_AND_DATABASE["NX_TASKS_DATABASE"]

    @property
    def callables_url(self) -> str:
        """URL prefix of the callables."""
        return f"http://{self.functions}/{PROJECT}/{self.region}"

    @property
    def page_origins(self) -> str:
        """Origins of the page, which the callables' CORS headers allow."""
        return f"http://{self.hosting},http://localhost:{self.hosting.rpartition(':')[2]}"

    @property
    def jobs_url(self) -> str:
        """URL of the local Cloud Scheduler's jobs."""
        return f"http://{self.scheduler}/v1/projects/{PROJECT}/locations/{self.region}/jobs"

    @property
    def queue_url(self) -> str:
        """URL of the queue of long runs in the Cloud Tasks emulator."""
        return f"http://{self.tasks}/projects/{PROJECT}/locations/{self.region}/queues/{QUEUE}"

    def to_environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for programs that use this stack.

        Args:
            base: Environment to extend. Google credentials are removed; loopback is excluded from proxies.
        """
        proxied = base.get("no_proxy") or base.get("NO_PROXY")
        direct = ",".join(filter(None, [proxied, "127.0.0.1,localhost,::1"]))
        added = {
            "GCLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "NX_TASKS_REGION": self.region,
            "NX_TASKS_DATABASE": self.database,
            "NX_TASKS_BUCKET": BUCKET,
            "NX_TASKS_APP_CHECK": "off",
            "NX_TASKS_CORS_ORIGINS": self.page_origins,
            "NX_TASKS_CALLS_PER_MINUTE": "0",
            "NX_FUNCTIONS_URL": self.callables_url,
            "FIRESTORE_EMULATOR_HOST": self.firestore,
            "FIREBASE_AUTH_EMULATOR_HOST": self.auth,
            "CLOUD_SCHEDULER_EMULATOR_HOST": self.scheduler,
            "CLOUD_TASKS_EMULATOR_HOST": self.tasks,
            "STORAGE_EMULATOR_HOST": f"http://{self.storage}",
            "NX_OCPI_PEER": self.ocpi,
            # A value that was set before the start takes precedence, to test against another server.
            "NX_OCPI_OPERATORS": base.get("NX_OCPI_OPERATORS") or secret(self.ocpi),
            # The local Twilio delivers nothing, so the demo can send messages instead of doing a dry run.
            "NX_SMS_DRY_RUN": "off",
            "NX_SMS_REGIONS": "US",
            "NX_SMS_TEXTS": RESET_TEXTS,
            "NX_TWILIO_URL": f"http://{self.twilio}",
            "NX_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "NX_TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "NX_TWILIO_MESSAGING_SERVICE_SID": MESSAGING_SERVICE_SID,
            "NO_PROXY": direct,
            "no_proxy": direct,
        }
        if self.storage_server == "official":
            added["FIREBASE_STORAGE_EMULATOR_HOST"] = self.storage
        left_out = {"GOOGLE_APPLICATION_CREDENTIALS", "FIREBASE_STORAGE_EMULATOR_HOST"}
        return {name: value for name, value in base.items() if name not in left_out} | added

    def exports(self) -> str:
        """Return the environment as `export` lines for a shell."""
        added = self.to_environment({}).items()
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in added)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Addresses":
        """Return the addresses in an environment that to_environment made."""
        return cls(
            auth=environment["FIREBASE_AUTH_EMULATOR_HOST"],
            firestore=environment["FIRESTORE_EMULATOR_HOST"],
            functions=environment["NX_FUNCTIONS_URL"].split("/")[2],
            scheduler=environment["CLOUD_SCHEDULER_EMULATOR_HOST"],
            storage=environment["STORAGE_EMULATOR_HOST"].removeprefix("http://"),
            tasks=environment["CLOUD_TASKS_EMULATOR_HOST"],
            hosting=environment["NX_TASKS_CORS_ORIGINS"].split(",")[0].removeprefix("http://"),
            storage_server="official" if "FIREBASE_STORAGE_EMULATOR_HOST" in environment else "fake-gcs",
            ocpi=environment["NX_OCPI_PEER"],
            twilio=environment["NX_TWILIO_URL"].removeprefix("http://"),
            region=environment["NX_TASKS_REGION"],
            database=environment["NX_TASKS_DATABASE"],
        )


def region_and_database(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of REGION_AND_DATABASE for the local stack.

    The `.env` files override the environment, as they do in Firebase's emulators.

    Args:
        root: The project's folder.
        environment: Environment of the command that starts the stack.
    """
    chosen = {name: environment[name] for name in REGION_AND_DATABASE if environment.get(name)}
    return REGION_AND_DATABASE | chosen | settings_in_files(root, *_ENV_FILES)


def settings_in_files(root: Path, *names: str) -> dict[str, str]:
    """Return the settings of REGION_AND_DATABASE in `.env` files; later files override earlier ones.

    Args:
        root: Folder of the files.
        names: Names of the files; missing files are skipped.
    """
    # Valid values contain neither blanks nor quotes, so one pattern matches every valid line.
    setting = re.compile(
        rf"""^\s*(?:export\s+)?({"|".join(REGION_AND_DATABASE)})\s*=\s*["']?([^\s"'#]+)""", re.MULTILINE
    )
    files = [root / name for name in names if (root / name).is_file()]
    return {name: value for file in files for name, value in setting.findall(file.read_text("utf-8"))}
