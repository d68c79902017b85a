"""Write the generated parts of README and the docs from the code and from what is kept of the studies.

python docs/build.py            write them
python docs/build.py --check    fail if they are not current

`generated.py`, beside this file, says which parts there are and what makes each.
"""

from __future__ import annotations

import sys

from generated import ROOT, pages


def main() -> int:
    """Write or check."""
    stale = []
    for path, text in pages().items():
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"not current: {', '.join(stale)}; run `python docs/build.py`", file=sys.stderr)
        return 1
    print(f"docs: {len(stale)} files {'would change' if '--check' in sys.argv else 'written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
