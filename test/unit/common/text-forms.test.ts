import fc from "fast-check";
import { test } from "tap";
import { formatAddress, isEverywhere, isLoopback, parseAddress, parseListen } from "../../../daemon/common/address.js";
import { formatSize, parseSize } from "../../../daemon/common/sizes.js";

test("sizes are read in powers of 1024, with or without a unit, and nothing else is taken for one", async (t) => {
  for (const [text, bytes] of [
    ["0", 0],
    ["4096", 4096],
    ["64MiB", 64 * 1024 ** 2],
    ["64 M", 64 * 1024 ** 2],
    ["1.5GiB", 1.5 * 1024 ** 3],
    ["2TB", 2 * 1024 ** 4],
    ["10k", 10240],
  ] as const) {
    t.equal(parseSize(text), bytes, text);
  }
  for (const text of ["", "MiB", "-1", "1e3", "0x10", "1 2", "5XB", "9999999PiB", "1MiBx", "NaN", "."]) {
    t.throws(() => parseSize(text), RangeError, text);
  }
});

test("a size that was formatted reads as nearly the same", async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (bytes) => {
      const back = parseSize(formatSize(bytes));
      return Math.abs(back - bytes) <= bytes * 0.06;
    }),
  );
  t.equal(formatSize(1536 * 1024), "1.5 MiB");
  t.equal(formatSize(12), "12 B");
});

test("addresses are HOST:PORT, IPv6 in brackets; anything else is refused", async (t) => {
  t.same(parseAddress("10.0.0.1:50052"), { host: "10.0.0.1", port: 50052 });
  t.same(parseAddress("[::1]:80"), { host: "::1", port: 80 });
  t.same(parseListen("9100"), { host: "127.0.0.1", port: 9100 });
  t.same(parseListen("0.0.0.0:0"), { host: "0.0.0.0", port: 0 });
  for (const text of ["", "host", "host:", ":1", "host:70000", "host:12x", "::1:80", "a b:1", "host:-1", "[::1]"]) {
    t.throws(() => parseAddress(text), { name: "FsError", errno: "EINVAL" }, text);
  }
  for (const text of ["[::1]:80", "node-1.lan:50051"]) t.equal(formatAddress(parseAddress(text)), text);
});

test("what is every address, and what is only this machine, in every spelling", async (t) => {
  for (const host of ["0.0.0.0", "::", "0::0", "0:0:0:0:0:0:0:0"]) t.ok(isEverywhere(host), host);
  for (const host of ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "::1", "0::1"]) t.ok(isLoopback(host), host);
  for (const host of ["10.0.0.1", "::2", "fe80::1", "127.example", "node"]) {
    t.notOk(isEverywhere(host) || isLoopback(host), host);
  }
});
