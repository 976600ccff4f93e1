"""Secrets are removed from texts, in whatever form they are written."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.redaction import clean, redacted

NAMES = (
    "token", "X-Auth-Token", "client_secret", "Password", "db.passwd", "Authorization", "api_key",
    "X-Api-Key", "apiKey", "credential", "AWS_CREDENTIALS", "X-Goog-Signature", "Set-Cookie",
    "private_key_id", "Cookie", "pwd", "AWS_ACCESS_KEY_ID", "accessKey", "jwt", "session_id",
    "auth", "proxy_auth",
)  # fmt: skip
#: The forms in which texts contain a name and its value.
FORMS: list[Callable[[str, str], str]] = [
    lambda name, value: repr({name: value, "n": 1}),
    lambda name, value: repr({name.encode(): value.encode("utf-8", "replace")}),
    lambda name, value: repr([("a", "b"), (name, value)]),
    lambda name, value: json.dumps({"a": {name: value}, "n": 1}),
    lambda name, value: json.dumps({name: [value, {"b": value}]}, indent=2),
    lambda name, value: json.dumps({"body": json.dumps({name: value})}),
    lambda name, value: repr(json.dumps({"body": json.dumps({name: value})})),
    lambda name, value: f"Config({name}={value!r}, n=1)",
    lambda name, value: f'headers["{name}"] = {value!r}',
    lambda name, value: f"Config({name}=({value!r}, [{value!r}]), n=1)",
    lambda name, value: f"Config({name}=BasicAuth(login='a', key={value!r}), n=1)",
    lambda name, value: json.dumps({"body": json.dumps({name: {"a": [value], "b": value}})}),
    lambda name, value: repr(json.dumps({name: {"a": [value], "b": value}})),
    lambda name, value: repr(json.dumps({"body": json.dumps({name: {"a": [value], "b": value}})})),
]


@pytest.mark.parametrize("form", FORMS)
@given(name=st.sampled_from(NAMES), before=st.text(), after=st.text())
def test_the_value_of_a_secret_s_name_is_removed(
    form: Callable[[str, str], str], name: str, before: str, after: str
) -> None:
    """With all quotes, escapes and line breaks that it contains."""
    text = redacted(form(name, f"{before}s3cret{after}s3cret"))
    assert "s3cret" not in text
    assert name in text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("GET https://h/p?X-Goog-Signature=abc&e=1 failed", "GET https://h/p?… failed"),
        ("GET https://user:p%40ss@h/p failed", "GET https://…@h/p failed"),
        ("amqp://user:p@ss@h:5672/v", "amqp://…@h:5672/v"),
        ("cannot connect to http://h:8080/a@b", "cannot connect to http://h:8080/a@b"),
        ('curl -H "Authorization: Bearer abc" https://h/p', 'curl -H "Authorization: Bearer …" https://h/p'),
        ('Authorization: Digest username="u", response="abc"\nnext', "Authorization: …\nnext"),
        ("X-Api-Key: abc\nAccept: */*", "X-Api-Key: …\nAccept: */*"),
        ("grant_type=password&client_secret=abc retried", "grant_type=password&client_secret=… retried"),
        ('{"password":"a\\"bc","page":3}', '{"password":"…","page":3}'),
        ('{"secret":123,"page":3}', '{"secret":…,"page":3}'),
        ("{'credentials': {'user': 'a', 'x': ['b']}, 'page': 3}", "{'credentials': …, 'page': 3}"),
        ("cookies=(1, 2) operator=north page=3", "cookies=… operator=north page=3"),
        ("cookies=('a)', \"b'\") page=3", "cookies=… page=3"),
        ("cookies=(1, 2 operator=north", "cookies=…"),
        ("cookies=(1] operator=north", "cookies=…"),
        ("auth=('u', 'pw') page=3", "auth=… page=3"),
        ("auth=BasicAuth('u', password='pw') page=3", "auth=… page=3"),
        ("password=ab(c)d3f page=3", "password=… page=3"),
        ("author=a oauth2=on auth_url=b", "author=a oauth2=on auth_url=b"),
        ("Cookie: theme=dark; session=abc\nnext", "Cookie: …\nnext"),
        ("Set-Cookie: theme[a]=dark; session=abc\nnext", "Set-Cookie: …\nnext"),
        ("HTTP_COOKIE=theme=dark; session=abc", "HTTP_COOKIE=…"),
        ('Authorization: Token token="abc", nonce="d"', "Authorization: …"),
        ("Authorization: [\n'abc']", "Authorization: …"),
        ("cookie=… page=3", "cookie=… page=3"),
        ("password = correct horse", "password = … horse"),  # docs/api.md: quote values with spaces
        ("AWS_ACCESS_KEY_ID=abc pwd=abc jwt=abc", "AWS_ACCESS_KEY_ID=… pwd=… jwt=…"),
        ("not kept: InvalidTokenError: {'code': 401}", "not kept: InvalidTokenError: {'code': 401}"),
        ("read tokens=12 page=3", "read tokens=… page=3"),  # a wrong redaction is harmless
        ("the token is old; page: 3", "the token … old; page: 3"),
        ("a signature is missing: page 3", "a signature is missing: page 3"),
    ],
)
def test_only_the_secret_is_removed(text: str, kept: str) -> None:
    assert redacted(text) == kept
    assert redacted(kept) == kept


def test_a_password_is_removed_from_a_text_that_is_cut() -> None:
    """Redaction shortens a text, so the place of the cut may be in view."""
    text = f"https://h/?{'x' * 300} https://user:s3cret@host/"
    for length in range(60, 90):
        assert "s3c" not in clean(text, length)


@pytest.mark.parametrize(
    "part",
    [
        *("token", "token ", "token=", 'token="', 'token\\"', "Authorization: ", "Bearer ", "Cookie: "),
        *("token=(", "token=()", "token=a", "token=('\\\\", "(", "auth=a(]", "tokenError", "token=…"),
        *("https://", "://", "a@", "\\", "x"),
    ],
)
def test_a_hostile_text_is_read_once(part: str) -> None:
    """Eight times the text takes about eight times the CPU time, not 64 times as with repeated reading."""

    def seconds(length: int) -> float:
        text = f"token=( {part * (length // len(part))}"  # also read as the inside of a bracket
        return min(_seconds(text) + _seconds(text[8:]) for _ in range(3))

    assert seconds(32_000) < 24 * max(seconds(4_000), 0.0002)


def _seconds(text: str) -> float:
    begin = time.thread_time()
    redacted(text)
    return time.thread_time() - begin
