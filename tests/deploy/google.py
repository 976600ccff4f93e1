"""Google's responses to the requests of this project's deployment; 501 for other requests.

Created resources are stored, so that a second deployment finds them. `tests.deploy.findings` checks
them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.deploy.recorder import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    Route: TypeAlias = "Callable[[Google, Request, str], Answer]"

PROJECT = "nx-deployed"
NUMBER = "123456789012"
BUCKET = f"{PROJECT}.firebasestorage.app"
DEFAULT_ACCOUNT = f"{NUMBER}-compute@developer.gserviceaccount.com"
SECRET_VERSION = "3"
_NOT_FOUND = Answer({"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}}, 404)

_routes: list[tuple[str, re.Pattern[str], Route]] = []


def _answers(method: str, address: str) -> Callable[[Route], Route]:
    """Register a function for requests to a host and path; it receives the pattern's group."""

    def keep(route: Route) -> Route:
        _routes.append((method, re.compile(address), route))
        return route

    return keep


class Google:
    """The control plane of one project, limited to the requests of a deployment.

    Attributes:
        functions: Cloud Functions by full name.
        jobs: Cloud Scheduler jobs by full name.
        policies: IAM policies by full name of the resource.
        archive: The last uploaded source archive.
        repositories: Repositories of container images by full name.
        releases: The current ruleset by full name of the release.
        rulesets: Rules by name.
        fields: Settings of Firestore fields by full name.
        indexes: Composite indexes by full name.
        databases: Full names of the project's Firestore databases.
        files: Files of Hosting by hash.
        unknown: Requests without a response here.
    """

    def __init__(self) -> None:
        self.functions: dict[str, Any] = {}
        self.jobs: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.archive = b""
        self.repositories: dict[str, Any] = {}
        self.releases: dict[str, Any] = {}
        self.rulesets: dict[str, Any] = {}
        self.fields: dict[str, Any] = {}
        self.indexes: dict[str, Any] = {}
        self.databases: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.unknown: list[str] = []

    def answer(self, request: Request) -> Answer:
        """Answer a request, or record it as unknown."""
        for method, address, route in _routes:
            found = method == request.method and address.fullmatch(request.host + request.path)
            if found:
                return route(self, request, found.group(1) if found.groups() else "")
        self.unknown.append(str(request))
        return Answer({"error": {"code": 501, "message": f"unknown here: {request}"}}, 501)


# Identity and project.


@_answers("POST", r"www\.googleapis\.com/oauth2/v3/token")
def _token(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"access_token": "a token of the recorder's", "expires_in": 3600})


@_answers("POST", r"cloudresourcemanager\.googleapis\.com/v1/projects/nx-deployed:testIamPermissions")
@_answers("POST", r"iam\.googleapis\.com/v1/projects/nx-deployed/serviceAccounts/.*:testIamPermissions")
def _permissions(_google: Google, request: Request, _name: str) -> Answer:
    return Answer({"permissions": request.body["permissions"]})


@_answers("GET", r"cloudresourcemanager\.googleapis\.com/v1/projects/nx-deployed")
@_answers("GET", r"firebase\.googleapis\.com/v1beta1/projects/nx-deployed")
def _project(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"projectNumber": NUMBER, "projectId": PROJECT})


@_answers("GET", r"firebase\.googleapis\.com/v1beta1/projects/nx-deployed/adminSdkConfig")
def _config(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"projectId": PROJECT, "storageBucket": BUCKET})


@_answers("GET", r"compute\.googleapis\.com/compute/v1/projects/[^/]+")
def _default_account(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"defaultServiceAccount": DEFAULT_ACCOUNT})


@_answers("GET", r"serviceusage\.googleapis\.com/v1/projects/[^/]+/services/([^/]+)")
def _service(_google: Google, _request: Request, name: str) -> Answer:
    return Answer({"name": name, "state": "ENABLED"})


@_answers("POST", r"serviceusage\.googleapis\.com/v1beta1/projects/.*:generateServiceIdentity")
def _identity(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"done": True})


# Cloud Functions and their Cloud Run services.


@_answers("GET", r"cloudfunctions\.googleapis\.com/v1/projects/nx-deployed/locations/-/functions")
def _functions_of_first_generation(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"functions": []})


@_answers("GET", r"cloudfunctions\.googleapis\.com/v2/projects/nx-deployed/locations/-/functions")
def _functions(google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"functions": list(google.functions.values())})


@_answers("POST", r"cloudfunctions\.googleapis\.com/v2/(.*)/functions:generateUploadUrl")
def _upload_url(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer(
        {
            "uploadUrl": "https://storage.googleapis.com/uploads/source.zip?signature=x",
            "storageSource": {"bucket": "uploads", "object": "source.zip"},
        }
    )


@_answers("PUT", r"storage\.googleapis\.com/uploads/source\.zip")
def _upload(google: Google, request: Request, _name: str) -> Answer:
    google.archive = request.content
    return Answer({})


@_answers("POST", r"cloudfunctions\.googleapis\.com/v2/(.*/functions)")
def _create_function(google: Google, request: Request, parent: str) -> Answer:
    return _deployed(google, f"{parent}/{request.query['functionId']}", request.body)


@_answers("PATCH", r"cloudfunctions\.googleapis\.com/v2/(.*/functions/[^/]+)")
def _update_function(google: Google, request: Request, name: str) -> Answer:
    return _deployed(google, name, request.body)


@_answers("DELETE", r"cloudfunctions\.googleapis\.com/v2/(.*/functions/[^/]+)")
def _delete_function(google: Google, _request: Request, name: str) -> Answer:
    del google.functions[name]
    return Answer({"name": f"{name}/operations/delete", "done": True})


def _deployed(google: Google, name: str, body: Any) -> Answer:
    function = name.rpartition("/")[2]
    parent = name.rpartition("/functions/")[0]
    service = {
        **body["serviceConfig"],
        "service": f"{parent}/services/{function.replace('_', '-')}",
        "uri": f"https://{function.replace('_', '-')}-abc-uc.a.run.app",
    }
    url = f"https://{parent.rpartition('/')[2]}-{PROJECT}.cloudfunctions.net/{function}"
    google.functions[name] = {
        **body,
        "name": name,
        "environment": "GEN_2",
        "state": "ACTIVE",
        "url": url,
        "serviceConfig": service,
    }
    return Answer({"name": f"{parent}/operations/{function}", "done": False})


@_answers("GET", r"cloudfunctions\.googleapis\.com/v2/(.*/operations/[^/]+)")
def _operation(google: Google, _request: Request, name: str) -> Answer:
    function = google.functions.get(name.replace("/operations/", "/functions/"), {})
    return Answer({"name": name, "done": True, "response": function})


@_answers("POST", r"run\.googleapis\.com/v1/(.*/services/[^/]+):setIamPolicy")
def _set_policy(google: Google, request: Request, name: str) -> Answer:
    google.policies[name] = request.body["policy"]
    return Answer(request.body["policy"])


@_answers("GET", r"run\.googleapis\.com/v1/(.*/services/[^/]+):getIamPolicy")
def _policy(google: Google, _request: Request, name: str) -> Answer:
    return Answer(google.policies.get(name, {}))


@_answers("GET", r"artifactregistry\.googleapis\.com/v1/(.*/repositories/gcf-artifacts)")
@_answers("PATCH", r"artifactregistry\.googleapis\.com/v1/(.*/repositories/gcf-artifacts)")
def _images(google: Google, request: Request, name: str) -> Answer:
    google.repositories[name] = {"name": name, **google.repositories.get(name, {}), **(request.body or {})}
    return Answer(google.repositories[name])


# Secrets.


@_answers("GET", r"secretmanager\.googleapis\.com/v1/projects/[^/]+/secrets/([^/:]+)")
def _secret(_google: Google, _request: Request, name: str) -> Answer:
    return Answer({"name": f"projects/{NUMBER}/secrets/{name}"})


@_answers("GET", r"secretmanager\.googleapis\.com/v1/projects/[^/]+/secrets/([^/:]+)/versions/[^/]+")
def _secret_version(_google: Google, _request: Request, name: str) -> Answer:
    version = f"projects/{NUMBER}/secrets/{name}/versions/{SECRET_VERSION}"
    return Answer({"name": version, "state": "ENABLED"})


@_answers("GET", r"secretmanager\.googleapis\.com/v1/projects/[^/]+/(secrets/[^/:]+):getIamPolicy")
def _secret_policy(google: Google, _request: Request, name: str) -> Answer:
    return Answer(google.policies.get(name, {"etag": "an etag"}))


@_answers("POST", r"secretmanager\.googleapis\.com/v1/projects/[^/]+/(secrets/[^/:]+):setIamPolicy")
def _set_secret_policy(google: Google, request: Request, name: str) -> Answer:
    google.policies[name] = request.body["policy"]
    return Answer(request.body["policy"])


# Cloud Scheduler.


@_answers("GET", r"cloudscheduler\.googleapis\.com/v1/(.*/jobs/[^/]+)")
def _job(google: Google, _request: Request, name: str) -> Answer:
    return Answer(google.jobs[name]) if name in google.jobs else _NOT_FOUND


@_answers("POST", r"cloudscheduler\.googleapis\.com/v1/(.*)/jobs")
def _create_job(google: Google, request: Request, _parent: str) -> Answer:
    google.jobs[request.body["name"]] = request.body
    return Answer(request.body)


@_answers("PATCH", r"cloudscheduler\.googleapis\.com/v1/(.*/jobs/[^/]+)")
def _update_job(google: Google, request: Request, name: str) -> Answer:
    google.jobs[name] = {**google.jobs[name], **request.body}
    return Answer(google.jobs[name])


@_answers("DELETE", r"cloudscheduler\.googleapis\.com/v1/(.*/jobs/[^/]+)")
def _delete_job(google: Google, _request: Request, name: str) -> Answer:
    return Answer({}) if google.jobs.pop(name, None) else _NOT_FOUND


# Firestore, and the rules of both.


@_answers("GET", r"firestore\.googleapis\.com/v1/(projects/nx-deployed/databases/[^/]+)")
def _database(google: Google, _request: Request, name: str) -> Answer:
    return Answer({"name": name, "type": "FIRESTORE_NATIVE"}) if name in google.databases else _NOT_FOUND


@_answers("POST", r"firestore\.googleapis\.com/v1/projects/nx-deployed/databases")
def _create_database(google: Google, request: Request, _name: str) -> Answer:
    database = f"projects/{PROJECT}/databases/{request.query['databaseId']}"
    google.databases.add(database)
    # firebase-tools polls the operation, then uses the database in this first response.
    return Answer({"name": f"{database}/operations/create", "response": {"name": database}})


@_answers("GET", r"firestore\.googleapis\.com/v1/(.*/operations/[^/]+)")
def _firestore_operation(_google: Google, _request: Request, name: str) -> Answer:
    return Answer({"name": name, "done": True, "response": {}})


@_answers("GET", r"firestore\.googleapis\.com/v1/(.*)/collectionGroups/-/indexes")
def _indexes(google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"indexes": list(google.indexes.values())})


@_answers("POST", r"firestore\.googleapis\.com/v1/(.*/collectionGroups/[^/]+)/indexes")
def _create_index(google: Google, request: Request, group: str) -> Answer:
    name = f"{group}/indexes/{len(google.indexes)}"
    # Like the service, append the document's name.
    by_name = {"fieldPath": "__name__", "order": request.body["fields"][-1]["order"]}
    fields = [*request.body["fields"], by_name]
    google.indexes[name] = {**request.body, "name": name, "fields": fields, "state": "READY"}
    return Answer({"name": f"{name}/operations/create"})


@_answers("GET", r"firestore\.googleapis\.com/v1/(.*)/collectionGroups/-/fields")
def _fields(google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"fields": list(google.fields.values())})


@_answers("PATCH", r"firestore\.googleapis\.com/v1/(.*/collectionGroups/[^/]+/fields/[^/]+)")
def _set_field(google: Google, request: Request, name: str) -> Answer:
    settings = {key: value for key, value in request.body.items() if key != "ttlConfig"}
    ttl = {"ttlConfig": {"state": "ACTIVE"}} if "ttlConfig" in request.body else {}
    google.fields[name] = {**google.fields.get(name, {}), **settings, **ttl, "name": name}
    return Answer({"name": f"{name}/operations/set", "done": True})


@_answers("POST", r"firebaserules\.googleapis\.com/v1/projects/nx-deployed:test")
def _rules_are_read(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({})


@_answers("GET", r"firebaserules\.googleapis\.com/v1/projects/nx-deployed/releases")
def _releases(google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"releases": list(google.releases.values())})


@_answers("GET", r"firebaserules\.googleapis\.com/v1/(projects/nx-deployed/rulesets/[^/]+)")
def _ruleset(google: Google, _request: Request, name: str) -> Answer:
    return Answer({"name": name, "source": google.rulesets[name]})


@_answers("POST", r"firebaserules\.googleapis\.com/v1/projects/nx-deployed/rulesets")
def _create_ruleset(google: Google, request: Request, _name: str) -> Answer:
    name = f"projects/{PROJECT}/rulesets/{len(google.rulesets)}"
    google.rulesets[name] = request.body["source"]
    return Answer({"name": name})


@_answers("PATCH", r"firebaserules\.googleapis\.com/v1/(projects/nx-deployed/releases/.+)")
def _update_release(google: Google, request: Request, name: str) -> Answer:
    if name not in google.releases:
        return _NOT_FOUND
    google.releases[name].update(request.body["release"])
    return Answer(request.body["release"])


@_answers("POST", r"firebaserules\.googleapis\.com/v1/projects/nx-deployed/releases")
def _create_release(google: Google, request: Request, _name: str) -> Answer:
    google.releases[request.body["name"]] = {**request.body, "createTime": "2026-01-01T00:00:00Z"}
    return Answer(request.body)


@_answers("GET", r"firebasestorage\.googleapis\.com/v1alpha/projects/nx-deployed/defaultBucket")
def _bucket(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"bucket": {"name": f"projects/{PROJECT}/buckets/{BUCKET}"}})


# Hosting.


@_answers("GET", r"firebasehosting\.googleapis\.com/v1beta1/projects/[^/]+/sites/([^/]+)")
def _site(_google: Google, _request: Request, name: str) -> Answer:
    return Answer({"name": f"projects/{PROJECT}/sites/{name}", "defaultUrl": f"https://{name}.web.app"})


@_answers("GET", r"firebasehosting\.googleapis\.com/v1beta1/projects/[^/]+/sites")
def _sites(_google: Google, _request: Request, _name: str) -> Answer:
    return Answer({"sites": [{"name": f"projects/{PROJECT}/sites/{PROJECT}", "type": "DEFAULT_SITE"}]})


@_answers("POST", r"firebasehosting\.googleapis\.com/v1beta1/(projects/[^/]+/sites/[^/]+/versions)")
def _create_version(_google: Google, _request: Request, parent: str) -> Answer:
    return Answer({"name": f"{parent}/1"})


@_answers("POST", r"firebasehosting\.googleapis\.com/v1beta1/(.*/versions/[^/]+):populateFiles")
def _populate(google: Google, request: Request, version: str) -> Answer:
    wanted = sorted({file for file in request.body["files"].values() if file not in google.files})
    url = f"https://upload-firebasehosting.googleapis.com/upload/{version}/files"
    return Answer({"uploadUrl": url, "uploadRequiredHashes": wanted})


@_answers("POST", r"upload-firebasehosting\.googleapis\.com/upload/.*/files/([^/]+)")
def _upload_file(google: Google, request: Request, file: str) -> Answer:
    google.files[file] = request.content
    return Answer({})


@_answers("PATCH", r"firebasehosting\.googleapis\.com/v1beta1/(projects/[^/]+/sites/[^/]+/versions/[^/]+)")
def _finish_version(_google: Google, request: Request, version: str) -> Answer:
    return Answer({"name": version, **request.body})


@_answers("POST", r"firebasehosting\.googleapis\.com/v1beta1/(projects/[^/]+/sites/[^/]+)/(?:.*/)?releases")
def _create_hosting_release(_google: Google, _request: Request, site: str) -> Answer:
    return Answer({"name": f"{site}/releases/1"})
