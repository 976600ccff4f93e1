"""Parses the `Link` header by RFC 8288, strictly enough that a link is never overlooked.

The RFC's own algorithm (appendix B.2) ends silently at the first character it does not expect. For a
paged list that would mean "this was the last page", so such a header raises an error instead. No
maintained library on PyPI does this: `requests.utils.parse_header_links` splits at every `;` and `,`,
and httplink (last released in 2020) refuses parameters without a value.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.collectors.ocpi.operators import resolve

#: Characters of the URL of a next page, which is kept with the position of a crawl. RFC 9110 (4.1) asks
#: servers to accept URLs of this length.
MAX_URL = 8_000
#: Characters of a header that an error shows, from where it could not be parsed.
_SHOWN = 40

# Folded header lines (RFC 9112, 5.2) leave line ends in a value.
_SEPARATOR = re.compile(r"[ \t\r\n]*(?:,[ \t\r\n]*)*")  # A list may have empty elements (RFC 9110, 5.6.1).
_TARGET = re.compile(r"<([^<>]*)>[ \t\r\n]*")
#: A parameter: `;`, a name, and a value that is quoted, unquoted, or missing.
_PARAMETER = re.compile(
    r"""
    ;[ \t\r\n]*
    (?:
        (?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t\r\n]*
        (?:=[ \t\r\n]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;,"]*)))?
    )?  # B.3 allows for a parameter without a name, such as the one after a last semicolon
    [ \t\r\n]*
    """,
    re.VERBOSE | re.DOTALL,
)
#: A relation type (3.3) in lower case: a registered name, or a URI.
_RELATION = re.compile(r"[a-z][a-z0-9.-]*|[a-z][a-z0-9+.-]*:[!#$%&'()*+,\-./0-9:;=?@\[\]_a-z~]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class LinkError(ValueError):
    """A `Link` header from which the next page cannot be determined."""


class Link(NamedTuple):
    """One link of a header.

    Attributes:
        target: The URL as sent, not yet resolved.
        parameters: The first value of each parameter, by lower-case name; empty text for one without a value.
    """

    target: str
    parameters: dict[str, str]

    @property
    def relations(self) -> list[str]:
        """The relation types, in lower case.

        Raises:
            LinkError: `rel` contains something else, which may be a misspelt `next`, or nothing.
        """
        relations = self.parameters["rel"].lower().split()
        for relation in relations or [""]:
            if not _RELATION.fullmatch(relation):
                raise LinkError(
                    f"the Link header has a `rel` that RFC 8288 does not allow: `{relation[:_SHOWN]}`"
                )
        return relations


def parse_links(header: str) -> list[Link]:
    """Parse the value of a `Link` header.

    Args:
        header: The value; several headers are joined by commas.

    Raises:
        LinkError: It is not a list of links, or a link lacks `rel`, which RFC 8288 requires (3.3).
    """
    links: list[Link] = []
    position = _end_of(_SEPARATOR, header, 0)
    while position < len(header):
        target = _TARGET.match(header, position)
        if target is None:
            raise _unparsed(header, position)
        parameters, position = _parse_parameters(header, target.end())
        if "rel" not in parameters:
            raise LinkError(f"the Link header has a link without `rel`: <{target[1][:_SHOWN]}>")
        links.append(Link(target[1], parameters))
        if position < len(header) and header[position] != ",":
            raise _unparsed(header, position)
        position = _end_of(_SEPARATOR, header, position)
    return links


def next_page(header: str, url: str) -> str | None:
    """Return the URL of the next page, or None when the header has no link to one.

    Args:
        header: The value of the page's `Link` header; empty if there is none.
        url: The URL of the page.

    Raises:
        LinkError: The header cannot be parsed, a relation type is not valid, or its `next` links name
            several pages, belong to another resource (`anchor`), or are too long.
    """
    pages: set[str] = set()
    for link in parse_links(header):
        if "next" not in link.relations:
            continue
        if resolve(url, link.parameters.get("anchor", url)) != url:
            raise LinkError("the Link header has a `next` link with an `anchor` that is not this page")
        pages.add(resolve(url, link.target))
    if len(pages) > 1:
        raise LinkError(f"the Link header must have one `next` link, got {len(pages)}")
    page = pages.pop() if pages else None
    if page is not None and len(page) > MAX_URL:
        raise LinkError(f"a `next` link must have at most {MAX_URL} characters, got {len(page)}")
    return page


def _parse_parameters(header: str, position: int) -> tuple[dict[str, str], int]:
    parameters: dict[str, str] = {}
    while found := _PARAMETER.match(header, position):
        name, quoted, plain = found.group("name", "quoted", "plain")
        if name is not None:  # A later parameter of the same name is ignored (3.3, 3.4.1).
            value = (plain or "").strip(" \t\r\n") if quoted is None else _ESCAPED.sub(r"\1", quoted)
            parameters.setdefault(name.lower(), value)
        position = found.end()
    return parameters, position


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()


def _unparsed(header: str, position: int) -> LinkError:
    return LinkError(f"the Link header cannot be parsed at `{header[position : position + _SHOWN]}`")
