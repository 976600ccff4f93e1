"""Parsing of the `Link` header (RFC 8288)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.collectors.ocpi.links import MAX_URL, LinkError, next_page, parse_links

PAGE = "https://ocpi.example.com/2.2.1/cdrs?offset=0"
NEXT = "https://ocpi.example.com/2.2.1/cdrs?offset=2"


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<?offset=2>; rel="next"', "?offset=2"),
        ("<?offset=2>;rel=next", "?offset=2"),
        ("<?offset=2>; REL=NEXT", "?offset=2"),
        ('<?offset=2>; title="a=b"; rel="next"', "?offset=2"),
        ('<?offset=2>; flag; rel="next"', "?offset=2"),
        ('<?offset=2>; flag;rel="next";', "?offset=2"),
        ('<?offset=2>; ; rel="next"', "?offset=2"),
        ('<?offset=2;v=1>; rel="next"', "?offset=2;v=1"),
        ('<?ids=1,2;v=","&x="y">; rel="next"', '?ids=1,2;v=","&x="y"'),
        (r'<?offset=2>; title="a \"; rel=\"prev, <x>"; rel="next"', "?offset=2"),
        ('<?offset=2>; title=""; rel="next"', "?offset=2"),
        ("<?offset=2>; title*=UTF-8''n%c3%a4chste; rel=next", "?offset=2"),
        ("<?offset=2>; title=next page; rel=next", "?offset=2"),
        ('<?offset=2>\t;\trel\t=\t"next"\t', "?offset=2"),
        ('<?offset=2>; rel="first next"', "?offset=2"),
        ('<?offset=2>; rel="next"; rel="prev"', "?offset=2"),
        (",, <?offset=2>; rel=next ,,", "?offset=2"),
        ('<?offset=9>; rel="last", <?offset=2>; rel="next"', "?offset=2"),
        ('<?offset=9>; rel=last,<?offset=2>; rel=next,<?a>; rel=up; title=", <?b>; rel=next"', "?offset=2"),
        ('<?offset=2>; rel="HTTPS://example.com/rels/a?b next item.x-1"', "?offset=2"),
        ('<?offset=2>; rel="next"; anchor="?offset=0"', "?offset=2"),
        ('<?offset=2>; rel="next", <?offset=2>; rel="next"', "?offset=2"),
        ('<?offset=2>; title="n\xe4chste"; rel="next"', "?offset=2"),
        ('<?offset=2>;\r\n rel="next"', "?offset=2"),
    ],
)  # fmt: skip
def test_every_form_of_a_next_link_is_found(header: str, target: str) -> None:
    """With everything that RFC 8288 allows before, after and inside it."""
    assert next(link.target for link in parse_links(header) if "next" in link.relations) == target
    assert next_page(header, PAGE) == f"https://ocpi.example.com/2.2.1/cdrs{target}"


@pytest.mark.parametrize(
    "header", ["", " , ", "</>; rel=prev", '</>; rel="next-page"', "</>; rel=urn:x:next"]
)
def test_a_header_without_a_next_link_is_the_last_page(header: str) -> None:
    """The header is valid and contains no next link."""
    assert next_page(header, PAGE) is None


@pytest.mark.parametrize(
    "header",
    [
        "next",
        NEXT,
        f'{NEXT}; rel="next"',
        f'<{NEXT}; rel="next"',
        f"<{NEXT}>",
        f"<{NEXT}> rel=next",
        f'<{NEXT}>; rel="next',
        f'<{NEXT}>; rel="next"x',
        f'<{NEXT}>; rel="next\\"',
        f'<{NEXT}>; title=a"b"; rel="next"',
        f'<{NEXT}>; (; rel="next"',
        f'<{NEXT}>; rel="next" <{NEXT}>; rel="prev"',
        f'<<{NEXT}>>; rel="next"',
        '</a>; rel="next", </b>; rel="next"',
        f'<{NEXT}>; rel="next"; anchor="/other"',
        f'<{NEXT}>; rel="prev", nonsense',
        f"<{NEXT}>; rel='next'",
        f"<{NEXT}>; rel=next <b>",
        f'<{NEXT}>; rel="next,"',
        f'<{NEXT}>; rel="next=1"',
        f'<{NEXT}>; rel="next:"',
        f'<{NEXT}>; rel="n\xe4chste"',
        f'<{NEXT}>; rel="1"',
        f'<{NEXT}>; rel=""',
        f"<{NEXT}>; rel",
    ],
)
def test_an_invalid_header_is_an_error(header: str) -> None:
    """It is not taken for the last page."""
    with pytest.raises(LinkError, match="the Link header"):
        next_page(header, PAGE)


def test_a_url_that_is_too_long_is_refused() -> None:
    """It would be kept with the position of the crawl, and servers refuse it."""
    longest = PAGE + "?" + "a" * (MAX_URL - len(PAGE) - 1)
    assert next_page(f'<{longest}>; rel="next"', PAGE) == longest
    with pytest.raises(LinkError, match="a `next` link must have at most 8000 characters, got 8001"):
        next_page(f'<{longest}a>; rel="next"', PAGE)


TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)
TARGETS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="<>"), max_size=20)
PARAMETERS = st.lists(st.tuples(TOKENS, TEXTS | st.none()), max_size=4)
BLANKS = st.sampled_from(["", " ", "\t ", "  "])


@given(links=st.lists(st.tuples(TARGETS, PARAMETERS, TEXTS, PARAMETERS), max_size=4), blank=BLANKS)
def test_generated_headers_are_parsed(
    links: list[tuple[str, list[tuple[str, str | None]], str, list[tuple[str, str | None]]]], blank: str
) -> None:
    """With any targets, parameters, quoted text and optional whitespace."""

    def parameter(name: str, value: str | None) -> str:
        if value is None:
            return f"{blank};{blank}{name}"
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{blank};{blank}{name}{blank}={blank}"{quoted}"'

    header, expected = [], []
    for target, before, relations, after in links:
        parameters = [*before, ("rel", relations), *after]
        header.append(f"<{target}>" + "".join(parameter(*each) for each in parameters))
        first: dict[str, str] = {}
        for name, value in parameters:
            first.setdefault(name.lower(), value or "")
        expected.append((target, first))
    assert parse_links(f"{blank},{blank}".join(header)) == expected


@given(st.text(st.sampled_from('<>;,="\\ \tarelnxt?'), max_size=40))
def test_any_text_is_parsed_or_refused(header: str) -> None:
    """No other exception is raised."""
    with suppress(LinkError):
        next_page(header, PAGE)
