"""The parts of docs/deploy.md that `make docs` generates from the code.

Each part is between `<!-- NAME: ... -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.scale.markdown import table
from deploy import costs
from deploy.access import ACCOUNTS, BUILDER, GRANTS, OWN_ROLES
from deploy.policies import policies
from shared.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shared.settings import Setting

PAGE = Path(__file__).resolve().parents[1] / "docs" / "deploy.md"


def roles() -> str:
    """Return the table of roles."""
    accounts = [f"- `{name}@PROJECT.iam.gserviceaccount.com`: {users}." for name, users in ACCOUNTS.items()]
    rows = [
        (
            "the builds' account" if grant.account == BUILDER else f"`{grant.account}`",
            _role(grant.role),
            grant.resource,
            grant.purpose + (f"; needed if {_or(grant.needed_by)} is deployed" if grant.needed_by else ""),
            "`firebase deploy`" if grant.by_deploy else "the command",
        )
        for grant in GRANTS
    ]
    return "\n".join(accounts) + "\n\n" + table(("account", "role", "on", "because it", "granted by"), rows)


def _role(name: str) -> str:
    if name not in OWN_ROLES:
        return f"`{name}`"
    permissions = ", ".join(f"`{permission}`" for permission in OWN_ROLES[name].permissions)
    return f"`{name}`, created by the command: {permissions}"


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def alerts() -> str:
    """Return the table of alert policies."""
    rows = []
    for name, policy in policies().items():
        (condition,) = policy["conditions"]
        matched = condition.get("conditionMatchedLog", {}).get("labelExtractors", {})
        rows.append(
            (
                f"`{name}`",
                policy["displayName"].removeprefix("nx-tasks: "),
                ", ".join(f"`{label}`" for label in matched),
                policy["severity"].lower(),
            )
        )
    return table(("file", "condition", "fields in the notification", "severity"), rows)


def settings() -> str:
    """Return the table of settings."""
    rows = [
        (
            f"`{setting.name}`",
            setting.meaning,
            setting.expected,
            _default(setting),
            setting.affects,
            "Secret Manager" if setting.secret else "`.env.PROJECT`",
        )
        for setting in SETTINGS
    ]
    return table(("setting", "meaning", "value", "default", "used by", "set in"), rows)


def _default(setting: Setting[Any]) -> str:
    if setting.default_text:
        return setting.default_text
    return "none" if setting.default is None else f"`{setting.default}`"


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "roles": roles,
    "costs": costs.tables,
    "alerts": alerts,
}


def updated(text: str, *, counted: Collection[str] | None = None) -> str:
    """Return the page with its parts generated again.

    Args:
        text: The page.
        counted: Names of the scheduled functions that the costs include; None for all.

    Raises:
        ValueError: The page does not contain each part once.
    """
    parts: dict[str, Callable[[], str]] = {**PARTS, "costs": lambda: costs.tables(names=counted)}
    for name, make in parts.items():
        part = re.compile(rf"(<!-- {name}:[^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
        found = part.search(text)
        if found is None or len(part.findall(text)) != 1:
            raise ValueError(f"docs/deploy.md must contain the part {name} once")
        text = f"{text[: found.start()]}{found[1]}\n{make()}\n\n{found[2]}{text[found.end() :]}"
    return text
