"""What a page tells its reader to do, as a shell script: its commands, and its files where it names them.

python docs/follow.py docs/writing-a-pack.md | bash -eux
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A block of a page: its language, its text, and the file that the paragraph before it names."""

    language: str
    text: str
    file: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a Markdown page, in order."""
    found = []
    for fence in re.finditer(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        paragraph = page[: fence.start()].rstrip().rpartition("\n\n")[2]
        files = re.findall(r"`([\w/]+\.py)`", paragraph)
        found.append(Block(fence[1], fence[2], files[-1] if files else ""))
    return found


def script(page: str) -> str:
    """All of it as one script."""
    parts = []
    for block in blocks(page):
        if block.language == "sh":
            parts.append(block.text)
        elif block.file:
            parts.append(f"cat > {shlex.quote(block.file)} <<'END OF FILE'\n{block.text}END OF FILE\n")
    return "".join(parts)


if __name__ == "__main__":
    print(script(Path(sys.argv[1]).read_text(encoding="utf-8")), end="")
