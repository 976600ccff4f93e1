"""The text of a failure, whatever the exception does."""

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
    """The contract's `error` is a text, even if the exception's str() fails (lessons 9, 10, 11)."""
    assert raised(error).text == text


def test_a_long_message_is_shortened() -> None:
    """Any error fits its document."""
    failure = raised(ValueError("x" * 5_000_000))
    assert len(failure.text) == MAX_MESSAGE
    assert failure.text.startswith("ValueError: xxx")


def test_a_long_traceback_is_shortened_and_keeps_its_end() -> None:
    """Even after a deep recursion."""

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
    ("text", "kept"),
    [
        ("GET https://h/p/x.json?X-Goog-Signature=abc&e=1 failed", "GET https://h/p/x.json?… failed"),
        ("Authorization: Bearer eyJhbGciOi.x.y!", "Authorization: Bearer …"),
        ("header Token c2VjcmV0 refused", "header Token … refused"),
        ("https://h/p without a query", "https://h/p without a query"),
    ],
)
def test_signatures_and_tokens_are_removed_from_errors(text: str, kept: str) -> None:
    """HTTP clients include them in their errors."""
    assert raised(ValueError(text)).message == kept


class InvalidToken(Exception):
    pass


def test_the_type_of_an_error_is_not_redacted() -> None:
    """Its name may contain a word such as token, which would hide the first word of the message."""
    failure = raised(InvalidToken("expired at 12:00, password=abc"))
    assert failure.text == "InvalidToken: expired at 12:00, password=…"
    assert failure.cancelled("token=abc").text == (
        "RunCancelled: token=… (InvalidToken: expired at 12:00, password=…)"
    )
    assert raised(InvalidToken({"code": 401})).text == "InvalidToken: {'code': 401}"
