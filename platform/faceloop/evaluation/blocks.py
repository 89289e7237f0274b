"""Blocks of a text that is written once and shown twice: as Markdown and as an HTML fragment."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    text: str
    level: int  # 1 …


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table. The first column is words, the others are aligned right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Bullets | Grid


def as_markdown(blocks: Sequence[Block]) -> str:
    """What the blocks say, for people with an editor; ends with a line break."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def as_html(blocks: Sequence[Block]) -> str:
    """The same as a fragment; every text is escaped, so that an id or an attribute can write no markup."""
    return "\n".join(_html(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {_line(block.text)}"
        case Paragraph():
            return _line(block.text)
        case Bullets():
            return "\n".join(f"- {_line(item)}" for item in block.items)
        case Grid():
            rule = "|".join(["---", *("--:" for _ in block.head[1:])])
            lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in (block.head, *block.rows)]
            return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Bullets():
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
        case Grid():
            head = "".join(f"<th>{escape(cell)}</th>" for cell in block.head)
            rows = "".join(f"<tr>{_cells(row)}</tr>" for row in block.rows)
            return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td{' class=n' if place else ''}>{escape(cell)}</td>" for place, cell in enumerate(row))


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
