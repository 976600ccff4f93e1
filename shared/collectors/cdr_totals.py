"""Adds up energy, time and cost of CDRs exactly, by operator, month and currency.

Numbers are added as the decimals in the records. Sums are text, because JSON readers would round numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.collectors.known_cdrs import Facts

#: Currencies per operator. An operator that sends invented ones must not fill memory, or displace other sums.
MAX_CURRENCIES = 50
#: Enough digits for the sum of any number of amounts.
_EXACT = Context(prec=100)


@dataclass(slots=True)
class Total:
    """A sum.

    Attributes:
        cdrs: Number of CDRs.
        energy: Energy, in kWh.
        time: Time, in hours.
        cost: Cost excluding VAT. (Not every CDR has the VAT.)
    """

    cdrs: int = 0
    energy: Decimal = Decimal(0)
    time: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)

    def add(self, cdrs: int, energy: Decimal, time: Decimal, cost: Decimal) -> None:
        """Add to the sum."""
        self.cdrs += cdrs
        self.energy = _EXACT.add(self.energy, energy)
        self.time = _EXACT.add(self.time, time)
        self.cost = _EXACT.add(self.cost, cost)

    def to_summary(self) -> dict[str, int | str]:
        """Return the sum as fields of a summary."""
        return {
            "cdrs": self.cdrs,
            "energy_kwh": f"{self.energy:f}",
            "time_hours": f"{self.time:f}",
            "cost_excl_vat": f"{self.cost:f}",
        }


class Totals:
    """Sums by operator, month and currency."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], Total] = {}
        self._currencies: dict[str, set[str]] = {}
        #: Number of CDRs left out because their operator has too many currencies.
        self.not_summed = 0

    def add(self, cdr: Facts) -> None:
        """Add a CDR that is not cancelled."""
        currencies = self._currencies.setdefault(cdr.nx_operator, set())
        if cdr.currency not in currencies and len(currencies) >= MAX_CURRENCIES:
            self.not_summed += 1
            return
        currencies.add(cdr.currency)
        numbers = (cdr.total_energy, cdr.total_time, cdr.total_cost.excl_vat)
        group = (cdr.month, cdr.nx_operator, cdr.currency)
        self._sums.setdefault(group, Total()).add(1, *(Decimal(str(number)) for number in numbers))

    def by_operator_and_month(self) -> list[dict[str, Any]]:
        """Return one row per operator, month and currency, the latest month first."""
        groups = sorted(sorted(self._sums), key=lambda group: group[0], reverse=True)
        return [
            {
                "month": month,
                "operator": operator,
                "currency": currency,
                **self._sums[month, operator, currency].to_summary(),
            }
            for month, operator, currency in groups
        ]

    def overall(self) -> list[dict[str, Any]]:
        """Return one row per currency."""
        sums: dict[str, Total] = {}
        for (_, _, currency), each in self._sums.items():
            sums.setdefault(currency, Total()).add(each.cdrs, each.energy, each.time, each.cost)
        return [{"currency": currency, **sums[currency].to_summary()} for currency in sorted(sums)]
