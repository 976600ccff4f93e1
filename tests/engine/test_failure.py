"""A failure in words, whatever the exception does."""

import pytest

from shared.tasks.failure import MAX_MESSAGE, Failure
from tests.support.values import Unprintable


class Rude(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


class Ending(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


def raised(error: BaseException) -> Failure:
    try:
        raise error  # noqa: TRY301
    except BaseException as caught:  # noqa: BLE001
        return Failure.of(caught)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("boom"), "ValueError: boom"),
        (ValueError(), "ValueError"),
        (KeyError("a"), "KeyError: 'a'"),
        (Unprintable(), "Unprintable: (its message can't be read)"),
        (Rude(), "Rude: (its message can't be read)"),
        (Ending(), "Ending: (its message can't be read)"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("bad \ud800 text"), "ValueError: bad ? text"),
        (ValueError(b"\xff\xfe"), "ValueError: b'\\xff\\xfe'"),
    ],
)
def test_an_error_is_its_type_and_message(error: BaseException, text: str) -> None:
    """The contract's `error` is text, whatever the exception's str() does (lessons 9, 10, 11)."""
    assert raised(error).text == text


def test_a_huge_message_is_cut() -> None:
    """No error is too large for its document."""
    failure = raised(ValueError("x" * 5_000_000))
    assert len(failure.text) == MAX_MESSAGE
    assert failure.text.startswith("ValueError: xxx")


def test_the_traceback_is_kept_short_and_ends_where_it_was_raised() -> None:
    """A deep recursion does not fill the history."""

    def dig(depth: int) -> None:
        if depth == 0:
            raise ValueError("bottom")
        dig(depth - 1)

    try:
        dig(200)
    except ValueError as error:
        trace = Failure.of(error).trace
    assert 'raise ValueError("bottom")' in trace.splitlines()[-1]
    assert len(trace.splitlines()) <= 12


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("GET https://h/p/x.json?X-Goog-Signature=abc&e=1 failed", "GET https://h/p/x.json?… failed"),
        ("Authorization: Bearer eyJhbGciOi.x.y!", "Authorization: Bearer …"),
        ("header Token c2VjcmV0 refused", "header Token … refused"),
        ("https://h/p without a query", "https://h/p without a query"),
    ],
)
def test_no_error_carries_a_signature_or_a_token(said: str, kept: str) -> None:
    """What HTTP clients say in their errors is cleaned of what opens doors."""
    assert raised(ValueError(said)).message == kept
