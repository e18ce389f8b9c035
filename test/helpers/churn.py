#!/usr/bin/env python3
"""Writers and readers of files whose content follows from their names and versions, until a stop file appears.

usage: churn.py FOLDER STOP   works in FOLDER/churn; ends when STOP exists, with everything read once more
       churn.py FOLDER        reads everything that is in FOLDER/churn
Exit 1 when any file has other bytes than it should, or an operation fails."""

import os
import random
import sys
import threading
import zlib

WRITERS = 2
READERS = 2
NAMES = 40


def content(name: str, version: int) -> bytes:
    """A first line that says what follows, then bytes that nobody else has."""
    rng = random.Random(f"{name}/{version}")
    body = rng.randbytes(rng.choice([10, 3_000, 70_000, 400_000, 1_500_000]))
    return f"{name} {version} {zlib.crc32(body)}\n".encode() + body


def check(folder: str, name: str) -> None:
    with open(os.path.join(folder, name), "rb") as file:
        found = file.read()
    head, _, body = found.partition(b"\n")
    words = head.decode().split()
    if len(words) != 3 or words[0] != name or found != content(name, int(words[1])):
        raise SystemError(f"{name}: {len(found)} bytes that nobody wrote, {head[:80]!r}, {len(body)} follow")


def write(folder: str, name: str, version: int, rng: random.Random) -> None:
    """In place of the old one at once, and on disk every other time."""
    temp = os.path.join(folder, f".{name}.{version}")
    with open(temp, "wb") as file:
        file.write(content(name, version))
        if rng.random() < 0.5:
            file.flush()
            os.fsync(file.fileno())
    os.rename(temp, os.path.join(folder, name))


def everything(folder: str) -> int:
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    for name in names:
        check(folder, name)
    return len(names)


def main() -> int:
    folder = os.path.join(sys.argv[1], "churn")
    if len(sys.argv) < 3:
        print(f"{everything(folder)} files are as they were written")
        return 0
    os.makedirs(folder, exist_ok=True)
    failures: list[str] = []
    counts = {"written": 0, "read": 0}

    def until_stopped(step, seed: str) -> None:
        rng = random.Random(seed)
        while not os.path.exists(sys.argv[2]) and not failures:
            try:
                step(rng)
            except FileNotFoundError:
                pass  # not written yet
            except Exception as error:
                failures.append(f"{seed}: {error!r}")

    def writer(number: int):
        version = 0

        def step(rng: random.Random) -> None:
            nonlocal version
            version += 1
            write(folder, f"w{number}-{rng.randrange(NAMES)}", version, rng)
            counts["written"] += 1

        return step

    def reader(rng: random.Random) -> None:
        check(folder, f"w{rng.randrange(WRITERS)}-{rng.randrange(NAMES)}")
        counts["read"] += 1

    threads = [threading.Thread(target=until_stopped, args=(writer(i), f"writer {i}")) for i in range(WRITERS)]
    threads += [threading.Thread(target=until_stopped, args=(reader, f"reader {i}")) for i in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"{counts['written']} written, {counts['read']} read, {everything(folder)} files are as they were written")
    return 1 if failures else 0


sys.exit(main())
