#!/usr/bin/env python3
"""What a filesystem promises, row by row: prints "what: ok", or where it is otherwise. usage: table.py FOLDER [FOLDER2]

Each row expects what ext4 does, so the table is right where it is all ok on a local folder. FOLDER2 is the same folder
seen by another mount (or FOLDER once more, to try the rows of two mounts on one). Both are empty at first, and other
users can get there; runs as root. Each row runs in a process and a folder of its own. Exit 1 when a row differs.
"""

import os
import sys

sys.dont_write_bytecode = True

from rows import base  # noqa: E402

for module in ("names", "renames", "opens", "holes", "data", "mappings", "times", "rights", "acls", "xattrs", "locks"):
    __import__(f"rows.{module}")
if len(sys.argv) > 2:
    __import__("rows.mounts")
sys.exit(base.run_all(*(os.path.realpath(folder) for folder in sys.argv[1:])))
