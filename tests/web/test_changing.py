"""Operators change tasks on the page, and the server refuses changes of others."""

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from shared import firebase
from shared.tasks import RunCancelled, TaskName, execute_task, resume_task, suspend_task
from tests.support.paged_run import PagedRun
from tests.waiting import wait_for

if TYPE_CHECKING:
    from emulators.environment import Addresses
    from tests.web.browsing import Visit
    from tests.web.conftest import Hold, Open
    from tests.web.past import Past

HEALTH = TaskName.collect_devices_health
REASON = "requested by a test"


def history() -> list[dict[str, Any]]:
    found = firebase.firestore_client().collection(f"nx-tasks/{HEALTH.value}/nx-runs").stream()
    return [run.to_dict() or {} for run in found]


def act(page: "Visit", button: str, reason: str = REASON) -> None:
    """Press a button of the task, enter the reason, and confirm."""
    page.row(HEALTH.value).get_by_role("button", name=button).first.click()
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=button).click()


def test_an_operator_runs_a_task(visit: "Open") -> None:
    """Cloud Scheduler delivers the run; the page shows the result, and the history operator and reason."""
    page = visit("operator")
    expect(page.state(HEALTH.value)).to_have_text("Never ran")
    act(page, "Run now")
    expect(page.page.locator(".outcome")).to_contain_text(HEALTH.value)
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    expect(page.row(HEALTH.value)).to_contain_text("200 records")
    page.open(f"/tasks/{HEALTH.value}")
    expect(page.row(HEALTH.value)).to_contain_text("Requested by operator@example.com (demo-operator)")
    run = page.page.locator('.runs li[data-state="completed"]').first
    expect(run).to_contain_text("Requested by operator@example.com (demo-operator)")
    run.get_by_role("button").click()
    expect(run).to_contain_text(f"operator@example.com (demo-operator): {REASON}")
    expect(run).not_to_contain_text("Scheduled")
    page.page.get_by_role("button", name="By operators").click()
    expect(page.page.locator(".runs li")).to_contain_text(
        [f"by operator@example.com (demo-operator): {REASON}"]
    )


def test_the_retries_of_a_requested_run_can_be_stopped(visit: "Open", clean_firestore: "Addresses") -> None:
    """The dialog announces the retries, and the failed run has a button."""
    at = dt.datetime.now(dt.UTC)
    asked = {"id": f"request-{at:%Y-%m-%dT%H:%M:%S.%fZ}", "by": "p", "reason": REASON, "at": at, "since": at}
    firebase.firestore_client().document(f"nx-tasks/{HEALTH.value}").set({"run": {"request": asked}})

    def fails() -> None:
        raise ValueError("no answer")

    assert execute_task("test", HEALTH, fails, {"schedule_time": at}).run_id == asked["id"]
    page = visit("operator")
    page.row(HEALTH.value).get_by_role("button", name="Run now").click()
    expect(page.page.get_by_role("dialog")).to_contain_text("and retries it if it fails")
    page.page.keyboard.press("Escape")
    act(page, "Stop retries")
    expect(page.page.locator(".outcome")).to_contain_text("will not be retried")
    assert execute_task("test", HEALTH, fails, {"schedule_time": at}).status == "duplicate"


def test_a_refused_delivery_is_in_the_history(visit: "Open") -> None:
    """The entry has the refusal, its reason, and the time of the next delivery."""
    tick = {"scheduled_for": dt.datetime.now(dt.UTC)}
    execute_task("test", HEALTH, lambda: execute_task("test", HEALTH, list, tick) and None, tick)
    page = visit("viewer")
    page.open(f"/tasks/{HEALTH.value}")
    page.page.get_by_role("button", name="Skipped or missed").click()
    expect(page.page.locator('.runs li[data-state="refused"]')).to_contain_text(
        re.compile(r"1 delivery refused: an attempt of this run may still be alive; next delivery after \d")
    )


def test_a_running_task_is_not_started_twice(visit: "Open", hold: "Hold") -> None:
    """If a run has started meanwhile, the page shows it, and no second run starts."""
    page = visit("operator")
    page.row(HEALTH.value).get_by_role("button", name="Run now").click()
    hold(HEALTH)
    wait_for("the run", lambda: any(run["state"] == "running" for run in history()))
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(REASON)
    dialog.get_by_role("button", name="Run now").click()
    expect(page.page.locator(".outcome")).to_contain_text("is already running. No second run was started")


def test_an_operator_suspends_and_resumes_a_task(visit: "Open", past: "Past") -> None:
    """A suspended task shows the operator, the reason and no next run; resumed, it is scheduled again."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=2)
    page, looking = visit("operator"), visit("viewer")
    act(page, "Suspend")
    for each in (page, looking):
        expect(each.state(HEALTH.value)).to_have_text("Suspended")
        expect(each.row(HEALTH.value)).to_contain_text(
            f"Suspended by operator@example.com (demo-operator): {REASON}"
        )
        expect(each.row(HEALTH.value)).to_contain_text("None while suspended")
    act(page, "Resume", "the device is repaired")
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    expect(page.row(HEALTH.value)).to_contain_text(re.compile(r"in \d+ (s|min)"))
    assert {(run["state"], run["reason"]) for run in history() if "by" in run} == {
        ("suspended", REASON),
        ("resumed", "the device is repaired"),
    }


def test_an_operator_cancels_a_run(visit: "Open", hold: "Hold") -> None:
    """The run stops at its next progress report and is shown as cancelled, with operator and reason."""
    page = visit("operator")
    run = hold(HEALTH)
    run.progress(1, 10)
    expect(page.state(HEALTH.value)).to_have_text("Running")
    act(page, "Cancel run")
    expect(page.row(HEALTH.value)).to_contain_text(
        f"Cancellation requested by operator@example.com (demo-operator): {REASON}"
    )
    run.go_on_until(RunCancelled)
    expect(page.state(HEALTH.value)).to_have_text("Cancelled")
    expect(page.row(HEALTH.value)).to_contain_text("Cancelled by operator@example.com")


def test_a_run_between_two_legs_is_cancelled_at_once(visit: "Open") -> None:
    """The dialog announces it, and the page never shows the run as being cancelled."""
    run = PagedRun.waiting(HEALTH)
    page = visit("operator")
    page.row(HEALTH.value).get_by_role("button", name="Cancel run").click()
    expect(page.page.get_by_role("dialog")).to_contain_text(
        "waits for its next leg. It ends at once as cancelled"
    )
    page.page.keyboard.press("Escape")
    act(page, "Cancel run")
    expect(page.page.locator(".outcome")).to_contain_text(f"Cancelled the run of {HEALTH.value}.")
    expect(page.state(HEALTH.value)).to_have_text("Cancelled")
    expect(page.row(HEALTH.value).get_by_role("button", name="Run now")).to_be_enabled()
    assert run.deliver(2).status == "duplicate"


def test_an_operator_stops_the_retries_of_a_failed_run(visit: "Open") -> None:
    """The row shows operator, reason and error; the next delivery does not start the run."""

    def fails() -> None:
        raise ValueError("no answer")

    tick = {"scheduled_for": dt.datetime.now(dt.UTC)}
    assert execute_task("test", HEALTH, fails, tick).status == "failed"
    page, looking = visit("operator"), visit("viewer")
    expect(page.state(HEALTH.value)).to_have_text("Failed")
    expect(looking.row(HEALTH.value).get_by_role("button", name="Stop retries")).to_be_disabled()
    act(page, "Stop retries")
    expect(page.page.locator(".outcome")).to_contain_text("will not be retried")
    expected = f"Cancelled by operator@example.com (demo-operator): {REASON} (ValueError: no answer)"
    expect(page.row(HEALTH.value)).to_contain_text(expected)
    button = page.row(HEALTH.value).get_by_role("button", name="Not retried")
    expect(button).to_be_disabled()
    expect(button).to_be_focused()
    assert execute_task("test", HEALTH, fails, tick).status == "duplicate"
    expect(looking.row(HEALTH.value).get_by_role("button", name="Not retried")).to_be_disabled()


def test_a_failed_run_without_a_tick_has_no_retries(visit: "Open") -> None:
    """The page does not offer to stop retries."""

    def fails() -> None:
        raise ValueError("no answer")

    assert execute_task("test", HEALTH, fails).status == "failed"
    page = visit("operator")
    expect(page.state(HEALTH.value)).to_have_text("Failed")
    expect(page.row(HEALTH.value).get_by_role("button", name="Run now")).to_be_enabled()
    expect(page.row(HEALTH.value).get_by_role("button", name="Stop retries")).to_have_count(0)


def test_a_change_requires_a_reason(visit: "Open") -> None:
    """Without a reason nothing is sent, and the dialog asks for one; Escape changes nothing."""
    page = visit("operator")
    button = page.row(HEALTH.value).get_by_role("button", name="Suspend")
    button.focus()
    button.press("Enter")
    dialog = page.page.get_by_role("dialog", name=f"Suspend {HEALTH.value}?")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    dialog.get_by_role("button", name="Suspend").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Enter a reason")
    page.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    assert not [request for request in page.requests if request.url.endswith("/suspend_task")]


def test_a_viewer_sees_why_buttons_are_disabled(visit: "Open") -> None:
    """The buttons are marked as disabled for assistive tools and state the reason; they do nothing."""
    page = visit("viewer")
    for name in ("Run now", "Suspend"):
        button = page.row(HEALTH.value).get_by_role("button", name=name)
        expect(button).to_be_disabled()
        expect(button).to_have_accessible_description(
            re.compile("Ask an administrator for the operator role")
        )
        button.dispatch_event("click")
    expect(page.page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("name", ["run_task", "suspend_task", "resume_task", "cancel_run"])
def test_the_server_refuses_a_viewers_change(visit: "Open", stack: "Addresses", name: str) -> None:
    """The viewer's page sends the request with the viewer's token, without a button."""
    page = visit("viewer")
    data = {"task_name": HEALTH.value, "reason": REASON, **({"id": "x"} if name == "cancel_run" else {})}
    answer = page.page.evaluate(
        """async ([url, token, data]) => {
          const headers = { "Content-Type": "application/json", Authorization: token };
          const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ data }) });
          return [answer.status, await answer.text()];
        }""",
        [f"{stack.callables_url}/{name}", page.token(), data],
    )
    assert answer[0] == 403
    assert json.loads(answer[1])["error"]["status"] == "PERMISSION_DENIED"
    assert history() == []


def test_a_revoked_sign_in_changes_nothing(visit: "Open") -> None:
    """An operator with revoked tokens sees what to do next, and nothing changes."""
    import firebase_admin  # noqa: PLC0415
    from firebase_admin import auth  # noqa: PLC0415

    page = visit("operator")
    app = firebase_admin.initialize_app(options={"projectId": "demo-nx-tasks"}, name="revoking")
    # Revocation has a resolution of one second, so a token of the same second stays valid.
    issued = dt.datetime.now(dt.UTC)
    wait_for("the next second", lambda: dt.datetime.now(dt.UTC) - issued > dt.timedelta(seconds=1.1))
    auth.revoke_refresh_tokens("demo-operator", app=app)
    firebase_admin.delete_app(app)
    act(page, "Suspend")
    expect(page.page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        re.compile("[Ss]ign out and in again")
    )
    assert history() == []


def test_a_suspended_task_cannot_be_run(visit: "Open") -> None:
    """The button is disabled and states the reason."""
    suspend_task(HEALTH, by="ops@example.com", reason=REASON)
    page = visit("operator")
    button = page.row(HEALTH.value).get_by_role("button", name="Run now")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_have_attribute("title", re.compile("Resume it"))
    button.click(force=True)
    expect(page.page.get_by_role("dialog")).to_have_count(0)


def test_an_outdated_notice_disappears(visit: "Open", past: "Past") -> None:
    """When another tab resumes the task, the notice of its suspension disappears."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=2)
    page = visit("operator")
    act(page, "Suspend")
    expect(page.page.locator(".outcome")).to_contain_text(f"{HEALTH.value} is suspended.")
    expect(page.state(HEALTH.value)).to_have_text("Suspended")
    resume_task(HEALTH, by="ops@example.com", reason=REASON)
    expect(page.state(HEALTH.value)).to_have_text("Completed")
    expect(page.page.locator(".outcome")).to_have_text("")


def test_a_refusal_shows_the_exact_name_of_the_task(visit: "Open") -> None:
    """The name is not capitalized at the start of a sentence."""
    page = visit("operator")
    page.row(HEALTH.value).get_by_role("button", name="Run now").click()
    suspend_task(HEALTH, by="ops@example.com", reason=REASON)
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(REASON)
    dialog.get_by_role("button", name="Run now").click()
    expect(dialog.get_by_role("alert")).to_contain_text(re.compile(rf"^{HEALTH.value} is suspended"))


def test_a_dialog_is_used_with_the_keyboard(visit: "Open", past: "Past") -> None:
    """The focus starts in the reason, the confirming button is next, and Ctrl+Enter confirms."""
    past.of(HEALTH, every=dt.timedelta(minutes=5), result=lambda: [1], seconds=lambda _: 1, count=2)
    page = visit("operator")
    dialog = page.page.get_by_role("dialog")
    page.row(HEALTH.value).get_by_role("button", name="Run now").click()
    expect(dialog.get_by_label("Reason")).to_be_focused()
    page.page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Run now")).to_be_focused()
    page.page.keyboard.press("Escape")
    page.row(HEALTH.value).get_by_role("button", name="Suspend").click()
    expect(dialog.get_by_label("Reason")).to_be_focused()
    page.page.keyboard.press("Control+Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("Enter a reason.")
    page.page.keyboard.type("first line")
    page.page.keyboard.press("Enter")
    page.page.keyboard.type("second line")
    page.page.keyboard.press("Control+Enter")
    expect(dialog).to_have_count(0)
    expect(page.state(HEALTH.value)).to_have_text("Suspended")
    assert {run.get("reason") for run in history() if "by" in run} == {"first line\nsecond line"}
