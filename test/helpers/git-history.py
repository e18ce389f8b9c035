#!/usr/bin/env python3
"""Prints a history for git fast-import, always the same: branches that change files, rename and remove them, and merge.

usage: git-history.py COMMITS FILES
"""
import random, sys

commits, files = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(1)
out = sys.stdout.buffer
lines = lambda count: b"".join(b"%x %s\n" % (chance.getrandbits(40), b"word " * chance.randrange(12)) for _ in range(count))
data = lambda content: out.write(b"data %d\n%s\n" % (len(content), content))
path = lambda n: b"dir%d/sub%d/file %d" % (n % 7, n % 23, n)
# Of each branch: its last commit, and its files.
branches = {b"main": (None, {})}

for mark in range(1, commits + 1):
    name = chance.choice(list(branches))
    last, tree = branches[name]
    if last is not None and len(branches) < 8 and chance.random() < 0.01:
        name = b"topic-%d" % mark
        tree = dict(tree)
    out.write(b"commit refs/heads/%s\nmark :%d\n" % (name, mark))
    who = b"A <a@example.org> %d +0100" % (1_500_000_000 + mark * 3600)
    out.write(b"author %s\ncommitter %s\n" % (who, who))
    data(b"Change %d\n\nof %s\n" % (mark, name))
    if last is not None:
        out.write(b"from :%d\n" % last)
    merged = chance.choice(list(branches))
    if name == b"main" and merged != name and chance.random() < 0.1:
        other, theirs = branches.pop(merged)
        out.write(b"merge :%d\n" % other)
        for n in theirs.keys() - tree.keys():
            tree[n] = theirs[n]
            out.write(b'M 100644 inline "%s"\n' % path(n))
            data(tree[n])
    for n in {chance.randrange(files) for _ in range(files if last is None else chance.randrange(1, 6))}:
        if n in tree and chance.random() < 0.1:
            del tree[n]
            out.write(b'D "%s"\n' % path(n))
            continue
        tree[n] = tree.get(n, lines(100)).replace(lines(1)[:1], lines(1), 3)[:20_000]
        out.write(b'M %s inline "%s"\n' % (b"100755" if n % 11 == 0 else b"100644", path(n)))
        data(tree[n])
    branches[name] = (mark, tree)
    if mark % 500 == 0:
        out.write(b"tag v%d\nfrom :%d\ntagger %s\n" % (mark, mark, who))
        data(b"Version %d\n" % mark)
out.write(b"done\n")
