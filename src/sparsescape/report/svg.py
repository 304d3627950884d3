"""A figure as a part of the page: its text is text, its colours follow the page's."""

from __future__ import annotations

import re

from .style import DARK

_IDENTIFIER = re.compile(r'(\bid="|href="#|url\(#)')
_HEXADECIMAL = re.compile("|".join(DARK), re.IGNORECASE)


def inline(svg: str, name: str, description: str) -> str:
    """The ``<svg>`` element of a file that matplotlib wrote, fit to stand in HTML.

    Identifiers get the figure's name in front, so that several figures can share a page; colours
    become the variables of :func:`variables`; namespaces, which HTML does not need, are dropped.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body).replace("xlink:href=", "href=")
    body = _IDENTIFIER.sub(lambda match: f"{match[1]}{name}-", body)
    body = _HEXADECIMAL.sub(lambda match: f"var({_variable(match[0])})", body)
    return body.replace("<svg", f'<svg role="img" aria-label="{description}"', 1)


def variables() -> tuple[str, str]:
    """Declarations of all colours as CSS variables: on a light page, and on a dark one."""
    light = "; ".join(f"{_variable(colour)}: {colour}" for colour in DARK)
    dark = "; ".join(f"{_variable(colour)}: {other}" for colour, other in DARK.items())
    return light, dark


def _variable(colour: str) -> str:
    return f"--c{colour[1:].lower()}"
