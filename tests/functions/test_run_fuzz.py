"""Requests of every kind to `get_run` as deployed: none causes an error or reveals another task's log."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.tasks import TaskName, store
from shared.tasks.admin.queries import view_history
from tests.functions.conftest import Serve, log_line
from tests.functions.issuer import Issuer
from tests.functions.test_authorization_matrix import OPERATORS_ONLY, send
from tests.functions.test_fuzz import NAMES, claims, good_claims, names, values


@pytest.fixture(scope="module")
def address(results: dict[TaskName, list[str]], serve: Serve) -> str:
    return serve("get_run")


def may_see_log(sent: dict[str, Any], name: str) -> bool:
    """Return whether claims allow a caller to see the log of a task."""
    role, listed = sent.get("role"), sent.get("tasks")
    is_listed = isinstance(listed, list) and name in listed
    return role == "operator" or (role == "viewer" and (name != OPERATORS_ONLY or is_listed))


def test_any_request_gets_its_run_or_a_known_error(address: str, issuer: Issuer, log: Path) -> None:
    """A log is in the response only if the claims allow it; every kind of response occurs."""
    runs = {name: view_history(store, TaskName(name), limit=1).records[0].id for name in NAMES}
    ids = st.sampled_from([*runs.values(), "..", ".", "__x__", "a/b", f"{runs[NAMES[0]]}/nx-log/0001.00001"])
    versions: set[str] = set()
    optional = {"if_version": st.none() | st.text(max_size=8)}
    calls = st.one_of(
        st.sampled_from(NAMES).map(lambda name: {"task_name": name, "id": runs[name]}),
        st.fixed_dictionaries({"task_name": names, "id": ids | st.text()}, optional=optional),
        st.fixed_dictionaries(
            {"task_name": names | values, "id": ids | values}, optional={"if_version": values, "": values}
        ),
        values,
    )
    met: Counter[int] = Counter()
    logs: set[str] = set()

    @settings(max_examples=1_000, suppress_health_check=list(HealthCheck), database=None)
    @given(calls, good_claims | claims)
    def fuzz(data: Any, sent: dict[str, Any]) -> None:
        status, response = send(address, data, issuer.id_token(**sent))
        met[status] += 1
        shown = {name for name in NAMES if log_line(TaskName(name)) in json.dumps(response)}
        if status == 200:
            name = data["task_name"]
            assert response["result"]["id"] == data["id"]
            assert shown == ({name} if may_see_log(sent, name) else set())
            assert (response["result"]["log"] is None) == (not shown)
            logs.update(shown)
            version = response["result"]["version"]
            again = send(address, {**data, "if_version": version}, issuer.id_token(**sent))
            assert again == (200, {"result": {"version": version, "not_modified": True}})
            versions.add(version)
        else:
            assert not shown
            assert response["error"].keys() == {"status", "message"}

    fuzz()
    assert met.keys() - {401} == {200, 400, 403, 404}, met
    assert logs == set(NAMES)
    assert len(versions) > len(NAMES)  # a version of a run with its log is not that of the run without
    assert "callable failed function=" not in log.read_text("utf-8", "replace")
