#!/usr/bin/env python3
"""Writes into a database in transactions, and prints the number of each that was acknowledged.

usage: sqlite-writer.py DATABASE NAME COUNT JOURNAL    JOURNAL: a journal_mode
       sqlite-writer.py DATABASE --check               prints {writer: rows} and what integrity_check says

Each transaction counts two counters up and adds a row, so a lost or torn one is seen: both counters are the number of
the rows. What fails with "locked" or "busy" is tried again, for a minute without any success; nothing else may fail.
"""
import json, sqlite3, sys, time

PATIENCE = 60


def open_database(path, journal):
    # Without limit where a lock is waited for; the journal is removed durably (EXTRA), so what was acknowledged stays.
    db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    db.execute("pragma synchronous = extra")
    db.execute("pragma cache_size = 20")
    if journal is not None:
        retried(lambda: db.execute("pragma journal_mode = %s" % journal))
    return db


def retried(attempt):
    begin = time.monotonic()
    while True:
        try:
            return attempt()
        except sqlite3.DatabaseError as error:
            is_busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not is_busy or time.monotonic() - begin > PATIENCE:
                raise RuntimeError("%s (%s)" % (error, error.sqlite_errorname)) from error


def transaction(db, name, number):
    try:
        db.execute("begin immediate")
        (before,) = db.execute("select value from counters where id = 1").fetchone()
        db.execute("update counters set value = ? where id = 1", (before + 1,))
        db.execute("insert into rows values (?, ?, ?)", (name, number, ("%s %d;" % (name, number)) * 300))
        db.execute("update counters set value = value + 1 where id = 2")
        db.execute("commit")
    except sqlite3.OperationalError:
        if db.in_transaction:
            db.execute("rollback")
        raise


def write(path, name, count, journal):
    db = open_database(path, journal)
    retried(lambda: db.execute("create table if not exists counters(id integer primary key, value)"))
    retried(lambda: db.execute("insert or ignore into counters values (1, 0), (2, 0)"))
    retried(lambda: db.execute("create table if not exists rows(writer, number, filler, unique(writer, number))"))
    for number in range(count):
        retried(lambda: transaction(db, name, number))
        print(number + 1, flush=True)


def check(path):
    db = open_database(path, None)
    # One moment for all that follows.
    db.execute("begin")
    retried(lambda: db.execute("select count(*) from counters").fetchone())
    rows = dict(db.execute("select writer, count(*) from rows group by writer order by writer").fetchall())
    expected = "replace(hex(zeroblob(300)), '00', writer || ' ' || number || ';')"
    odd = db.execute("select count(*) from rows where filler <> %s" % expected).fetchone()[0]
    highest = dict(db.execute("select writer, max(number) + 1 from rows group by writer order by writer").fetchall())
    counters = [value for (value,) in db.execute("select value from counters order by id")]
    assert counters == [sum(rows.values())] * 2, ("a transaction is lost or torn", counters, rows)
    assert highest == rows, ("rows are missing", highest, rows)
    assert odd == 0, ("rows with another's bytes", odd)
    print(json.dumps({"rows": rows, "integrity": db.execute("pragma integrity_check").fetchone()[0]}))


if sys.argv[2] == "--check":
    check(sys.argv[1])
else:
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
