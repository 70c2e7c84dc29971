"""What `import vglib` costs beside `import torch`: python benchmarks/import_time.py"""

import subprocess
import sys

from interleaved import ratios, row


def importing(what):
    return lambda: subprocess.run([sys.executable, "-c", f"import {what}"], check=True)


def main():
    variants = {
        "import torch": importing("torch"),
        "again": importing("torch"),
        "import torch, vglib": importing("torch, vglib"),
        "import vglib.probes": importing("vglib.probes"),
        "import vglib.diagnosis": importing("vglib.diagnosis"),
        "import vglib.nets": importing("vglib.nets"),
        "import vglib.training": importing("vglib.training"),
    }
    measured = ratios(variants, repeats=10)
    print("| | " + " | ".join(measured) + " |\n" + "|---" * (len(measured) + 1) + "|")
    print(row("ratio", measured))


if __name__ == "__main__":
    main()
