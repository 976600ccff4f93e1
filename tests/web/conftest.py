"""The page in real Chromium, on the running stack."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from emulators import demo_data, page
from emulators.environment import Addresses
from tests.web.browsing import NEEDED, PATIENCE, ROOT, Visit, executable, launch, visiting
from tests.web.held import HeldRun, held_run
from tests.web.past import Past
from tests.web.signed_in import USERS, SignedIn

#: Opens the page for the viewer, for the operator, or signed out.
Open = Callable[..., Visit]
#: Starts a run that the test controls.
Hold = Callable[..., HeldRun]

_FIGURES = pytest.StashKey[list[str]]()


@pytest.hookimpl(trylast=True)  # after the selection by marks and names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Report a missing browser or page before any test runs."""
    if not any("browser" in getattr(item, "fixturenames", ()) for item in items):
        return
    with sync_playwright() as playwright:
        found = executable(playwright.chromium)
    if found is None:
        pytest.exit(NEEDED, returncode=1)
    if not page.is_built(ROOT):
        pytest.exit("The page is not built. `make page` does it, before the stack starts.", returncode=1)


@pytest.fixture(scope="session")
def browser(stack: Addresses) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def people(stack: Addresses) -> None:
    """The demo's operator and viewer. Writing them again would revoke their sign-ins."""
    demo_data.seed_users()


@pytest.fixture
def past(people: None, clean_firestore: Addresses) -> Past:
    """The demo's devices and users without any run; the test makes the history."""
    now = dt.datetime.now(dt.UTC)
    demo_data.seed_devices(now)
    return Past(now)


@pytest.fixture(scope="session")
def signed_in(browser: Browser, stack: Addresses) -> SignedIn:
    return SignedIn(browser, f"http://{stack.hosting}")


@pytest.fixture
def visit(browser: Browser, stack: Addresses, past: Past, signed_in: SignedIn) -> Iterator[Open]:
    with ExitStack() as visits:

        def open_page(who: str | None = None, **options: Any) -> Visit:
            if who in USERS and not options:
                return visits.enter_context(signed_in.visiting(who))
            visit = visits.enter_context(visiting(browser, f"http://{stack.hosting}", **options))
            return visit.sign_in(who) if who else visit

        yield open_page


@pytest.fixture
def hold(past: Past) -> Iterator[Hold]:
    with ExitStack() as runs:
        yield lambda task, **options: runs.enter_context(held_run(task, **options))


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints a measurement after the session."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, [])
    if figures:
        terminalreporter.section("the page")
        for figure in figures:
            terminalreporter.write_line(figure)
