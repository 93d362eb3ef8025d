"""Reads a vendor's XML safely: no document type, so no entities; bounded depth; names without their namespaces."""

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from lowtide.connectors.grid.rows import bad

MAX_DEPTH = 32
_NAMESPACE_END = "}"


class _Refused(Exception):
    """Raised inside the parser's callbacks, which know no source."""


class _Builder:
    """Builds the tree while it watches its depth."""

    def __init__(self) -> None:
        self._tree, self._depth = TreeBuilder(), 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(f"XML that is nested deeper than {MAX_DEPTH}")
        self._tree.start(_local(name), attributes)

    def end(self, name: str) -> None:
        self._depth -= 1
        self._tree.end(_local(name))

    def data(self, text: str) -> None:
        self._tree.data(text)

    def refuse(self, *_: object) -> None:
        raise _Refused("XML with a document type, which is not needed and can hide a bomb")

    def close(self) -> Element:
        return self._tree.close()


def tree_of(source: str, body: bytes) -> Element:
    """The root of a document in UTF-8.

    Raises:
        GridFailure: (bad_response) not well formed, not UTF-8, too deep, or with a document type.

    """
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator=_NAMESPACE_END)
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, builder.refuse
    try:
        # As text: the declaration of another encoding then changes nothing.
        parser.Parse(body.decode("utf-8-sig"), True)
        return builder.close()
    except _Refused as refusal:
        raise bad(source, str(refusal)) from None
    except (expat.ExpatError, UnicodeDecodeError):
        raise bad(source, "something that is not XML in UTF-8") from None


def text_of(element: Element, *path: str) -> str:
    """The text under a path of child names, stripped; empty where there is none."""
    found: Element | None = element
    for name in path:
        # Names hold dots, which a path expression would take for itself.
        found = next((child for child in found if child.tag == name), None) if found is not None else None
    return (found.text or "").strip() if found is not None else ""


def children(element: Element, name: str) -> list[Element]:
    """The children of that name."""
    return [child for child in element if child.tag == name]


def _local(name: str) -> str:
    return name.rpartition(_NAMESPACE_END)[2]
