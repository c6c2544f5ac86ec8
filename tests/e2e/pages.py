"""The Markdown pages of the project, taken apart: fenced blocks, commands with what they print, tables, links."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
ANY_TEXT = "..."  # in an example's output: whatever the reader sees there


@dataclass(frozen=True, slots=True)
class Command:
    """A line that begins with ``$ ``, and the lines below it."""

    text: str
    line: int
    output: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: language, whether its commands must fail, first line in the page, text."""

    language: str
    fails: bool
    line: int
    body: str

    def commands(self) -> list[Command]:
        """Read a console block; a line that ends with a backslash goes on in the next."""
        found: list[Command] = []
        joined = self.body.replace("\\\n", " ")
        for number, text in enumerate(joined.splitlines(), self.line):
            if text.startswith("$ "):
                found.append(Command(text[2:].strip(), number))
            elif found and text.strip() not in {"", ANY_TEXT}:
                found[-1].output.append(text.strip())
        return found


def page_name(path: Path) -> str:
    """Give a page's path as a reader knows it."""
    return str(path.relative_to(ROOT))


def all_pages() -> list[Path]:
    """List README.md and every page below docs/, in a fixed order."""
    return [path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if path.exists()]


def blocks(path: Path) -> list[Block]:
    """List the fenced blocks of a page."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        body = re.sub(f"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        found.append(Block(language, "fails" in flags, text[: match.start("body")].count("\n") + 1, body))
    return found


def prose(path: Path) -> str:
    """Give a page without its fenced blocks and code spans."""
    return CODE.sub("``", FENCE.sub("", path.read_text(encoding="utf-8")))


def slug(heading: str) -> str:
    """Turn a heading into the anchor that GitHub and GitLab give it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """List the anchors of a page."""
    return {slug(title) for title in re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)}


def section(path: Path, heading: str) -> str:
    """Give the text from a heading (with its ``#`` signs) to the next one of any level."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page_name(path)}: no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Read the cells of every table in a text, without headings and rules."""
    lines = [line.strip()[1:-1] for line in text.splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [cells for cells in found if cells[0].startswith("`") or cells[0].startswith("[")]


def codes(cell: str) -> list[str]:
    """List what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)
