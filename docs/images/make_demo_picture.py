"""Make ``demo.svg``: run ``cgjobs demo`` and draw what it really printed.

Run it from the repository: ``.venv/bin/python docs/images/make_demo_picture.py``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

WIDTH = 100
PICTURE = Path(__file__).with_name("demo.svg")
_MARKS = {
    r"^cgjobs:": Style(dim=True),
    r"SIGKILL.*": Style(color="red", bold=True),
    r"\b0 lost\b|none twice": Style(color="green", bold=True),
    r"^what\s+done$": Style(bold=True),
    r"^(cleanup|maintenance|notification|report)\.\w+|^one worker killed": Style(color="cyan"),
}


def capture() -> str:
    """What ``cgjobs demo`` prints, talk and data in their order."""
    command = [sys.executable, "-m", "cgjobs", "demo"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return ran.stdout


def draw(output: str) -> str:
    """The output as an SVG picture of a terminal."""
    console = Console(record=True, width=WIDTH, file=Path("/dev/null").open("w"), highlight=False)  # noqa: SIM115
    for line in ["$ cgjobs demo", *output.splitlines()]:
        # The temporary directory's random name is of no interest and too wide.
        text = Text(re.sub(r"/\S*/cgjobs-demo-\w+", "/tmp/cgjobs-demo", line))  # noqa: S108
        for pattern, style in _MARKS.items():
            text.highlight_regex(pattern, style)
        console.print(text, soft_wrap=False)
    # A fixed id, so that the same output gives the same picture; no font is fetched from elsewhere.
    svg = console.export_svg(title="chatgenius-jobs", theme=MONOKAI, unique_id="demo")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code,", "Fira Code, DejaVu Sans Mono, Menlo,")
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


if __name__ == "__main__":
    PICTURE.write_text(draw(capture()), "utf-8")
