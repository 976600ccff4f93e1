"""Browser contexts that remain signed in from test to test.

A new context starts processes and compiles the page's scripts again, which takes longer than most tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from firebase_admin import auth
from playwright.sync_api import Browser, BrowserContext

from shared import firebase
from tests.web.browsing import SETTINGS, Visit

#: The demo's users.
USERS = ("operator", "viewer")


class SignedIn:
    """The contexts of the demo's users.

    Args:
        browser: The browser of the session.
        base: URL of the page.
    """

    def __init__(self, browser: Browser, base: str) -> None:
        self._browser = browser
        self._base = base
        self._free: dict[tuple[Any, ...], list[BrowserContext]] = {}

    @contextmanager
    def visiting(self, who: str) -> Iterator[Visit]:
        """Visit the page for a with block, in a context that no other visit uses.

        Each visit gets a page of its own. A context with problems is discarded. Playwright installs a fake
        clock in the context for ever, so a test with one needs a context that is not kept.
        """
        account = _account(who)
        free = self._free.setdefault(account, [])
        context = free.pop() if free else self._browser.new_context(**SETTINGS)
        try:
            visit = Visit(context, self._base).sign_in(who)
            yield visit
            assert visit.problems == []
            assert not _has_fake_clock(visit), 'use visit() and sign_in instead of visit("…")'
            _restore(visit)
            # Changed claims or revoked tokens make the context useless.
            if _account(who) == account:
                free.append(context)
        finally:
            if context not in free:
                context.close()


def _account(who: str) -> tuple[Any, ...]:
    """Return what the validity of a sign-in depends on."""
    user = auth.get_user(f"demo-{who}", app=firebase.app())
    return who, user.tokens_valid_after_timestamp, str(user.custom_claims)


def _has_fake_clock(visit: Visit) -> bool:
    return bool(visit.page.evaluate("'__pwClock' in globalThis"))


def _restore(visit: Visit) -> None:
    """Undo what a test changed in the context of a visit."""
    visit.context.set_offline(False)
    visit.context.clear_permissions()
    visit.context.unroute_all(behavior="ignoreErrors")
    visit.page.evaluate("localStorage.clear()")
    for page in visit.context.pages:
        page.close()
