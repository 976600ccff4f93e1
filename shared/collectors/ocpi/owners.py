"""Decides which operator each party belongs to, so that no operator can change another's records.

A party (`country_code`, `party_id`) belongs to the operator that lists it in `parties`, else to the
first one that delivered records of it, for as long as that operator is in the setting. If several
deliver a new party in one run, the first of them in the setting gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.collectors.ocpi.errors import OcpiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.collectors.ocpi.crawled import Crawl
    from shared.collectors.ocpi.operators import Operator

#: Parties that one operator may have; a large hub has some hundreds.
MAX_PARTIES = 2_000


def party_of(country_code: str, party_id: str) -> str:
    """Return a party as settings and messages show it, "DE*ABC", in upper case, since case does not count."""
    return f"{country_code}*{party_id}".upper()


class Owners:
    """The operators, and which parties belong to each.

    Args:
        operators: The operators of the setting, in its order.
        remembered: Name of the operator by party, from the memory of the last run.
    """

    def __init__(self, operators: Sequence[Operator], remembered: Mapping[str, str]) -> None:
        self.operators = operators
        self._ranks = {operator.name: rank for rank, operator in enumerate(operators)}
        self._configured = {
            party.upper(): operator.name for operator in operators for party in operator.parties
        }
        known = {party: name for party, name in remembered.items() if name in self._ranks}
        self._owners = known | self._configured
        self._learnt: dict[str, str] = {}

    def of(self, party: str) -> str | None:
        """Return the name of a party's operator; None if the party belongs to none."""
        return self._owners.get(party) or self._learnt.get(party)

    def not_of_others(self, parties: Iterable[str], operator: str) -> set[str]:
        """Return the parties that belong to this operator or to none."""
        return {party for party in parties if self.of(party) in {operator, None}}

    def is_configured_for_another(self, party: str, operator: str) -> bool:
        """Return whether the setting lists a party under another operator."""
        return self._configured.get(party, operator) != operator

    def learn(self, party: str, operator: str) -> None:
        """Record that the last result has a record of this party from this operator.

        It decides about parties that the memory does not contain, for example after a legacy result.
        """
        rank = self._ranks.get(operator)
        if rank is None or party in self._owners:
            return
        other = self._learnt.get(party)
        if other is None or rank < self._ranks[other]:
            self._learnt[party] = operator

    def settle(self, crawls: Iterable[Crawl]) -> None:
        """Assign new parties to the first operator that sent them, and set records of other parties aside.

        Args:
            crawls: The outcome of each operator, in the order of the setting.
        """
        self._owners = self._learnt | self._owners
        for one in crawls:
            if one.error:
                continue
            for party, count in one.parties.items():
                owner = self._owners.setdefault(party, one.operator)
                if owner != one.operator:
                    one.disown(party, count, owner)
            self._forget_excess(one)

    def remembered(self) -> dict[str, str]:
        """Return the name of the operator by party, for the memory."""
        return dict(sorted(self._owners.items()))

    def _forget_excess(self, one: Crawl) -> None:
        """If an operator has too many parties, forget those that it did not deliver in this run."""
        own = [party for party, owner in self._owners.items() if owner == one.operator]
        if len(own) > MAX_PARTIES:
            for party in own:
                if party not in one.parties and party not in self._configured:
                    del self._owners[party]


def count_party(parties: dict[str, int], party: str) -> None:
    """Count a record of a party.

    Raises:
        OcpiError: The operator sent records of too many parties.
    """
    if party not in parties and len(parties) >= MAX_PARTIES:
        raise OcpiError(
            f"an operator may have at most {MAX_PARTIES} parties (country_code, party_id), got more"
        )
    parties[party] = parties.get(party, 0) + 1
