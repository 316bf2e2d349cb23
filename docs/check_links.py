"""Ask for every address that `links.md` lists, where there is a network: ``python docs/check_links.py``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

PAGE = Path(__file__).resolve().parent / "links.md"
ADDRESS = re.compile(r"<(https?://[^>]+)>")


def answer(address: str) -> str:
    """Return what an address answers: its status, or the error."""
    try:
        with urlopen(Request(address, method="HEAD", headers={"User-Agent": "convexnn"}), timeout=20) as reply:
            return str(reply.status)
    except (URLError, OSError) as error:
        return str(error)


def main() -> int:
    """Print a line for each address, and return 1 where one did not answer."""
    answers = {address: answer(address) for address in ADDRESS.findall(PAGE.read_text(encoding="utf-8"))}
    for address, said in answers.items():
        print(f"{said:>5}  {address}")
    return int(any(said != "200" for said in answers.values()))


if __name__ == "__main__":
    sys.exit(main())
