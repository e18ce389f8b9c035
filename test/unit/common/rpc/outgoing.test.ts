import fc from "fast-check";
import { test } from "tap";
import { Outgoing, encoded, nextOutgoing, unpack, type Waiting } from "../../../../daemon/common/rpc/outgoing.js";

const bytes = fc.uint8Array({ maxLength: 400 }).map((a) => Buffer.from(a));

function wire(message: Outgoing): Buffer {
  // As grpc-js does it: five bytes of its own in front.
  const target = Buffer.alloc(message.length + 5, 0xee);
  message.copy(target, 5);
  return target.subarray(5);
}

const waiting = (parts: readonly Uint8Array[], raw = false): Waiting => ({
  parts,
  bytes: parts.reduce((sum, part) => sum + part.length, 0),
  raw,
});

test("what is packed comes out the same, in order, whatever the sizes", async (t) => {
  fc.assert(
    fc.property(fc.array(fc.array(bytes, { maxLength: 3 }), { maxLength: 20, size: "max" }), (messages) => {
      const queue = messages.map((parts) => waiting(parts));
      const got: Buffer[] = [];
      while (queue.length > 0) got.push(...unpack(wire(nextOutgoing(queue, true)), true));
      const expected = messages.map((parts) => Buffer.concat(parts));
      return got.length === expected.length && got.every((one, i) => one.equals(expected[i] ?? Buffer.alloc(1)));
    }),
  );
  t.pass();
});

test("large messages travel alone and are whole", async (t) => {
  const large = Buffer.alloc(3_000_000, 3);
  const queue = [waiting([Buffer.from("a")]), waiting([large]), waiting([Buffer.from("b")])];
  const got: Buffer[] = [];
  let messages = 0;
  for (; queue.length > 0; messages++) got.push(...unpack(wire(nextOutgoing(queue, true)), true));
  t.equal(messages, 3);
  t.ok(got[1]?.equals(large));
});

test("a message of the handshake is never packed with others", async (t) => {
  const queue = [waiting([Buffer.from("hello")], true), waiting([Buffer.from("frame")])];
  t.equal(wire(nextOutgoing(queue, true)).toString(), "hello");
  t.equal(unpack(wire(nextOutgoing(queue, true)), true)[0]?.toString(), "frame");
});

test("garbage is refused or split, never read past its end", async (t) => {
  fc.assert(
    fc.property(bytes, (garbage) => {
      try {
        const sum = unpack(garbage, true).reduce((total, part) => total + part.length, 0);
        return sum <= garbage.length;
      } catch (error) {
        return error instanceof RangeError;
      }
    }),
  );
  t.throws(() => unpack(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x01]), true), RangeError);
  t.throws(() => unpack(Buffer.from([0x0a, 5, 1]), true), RangeError);
  t.throws(() => unpack(Buffer.from([0x12, 0]), true), RangeError);
});

test("a payload is not copied before the transport takes it", async (t) => {
  const payload = Buffer.from("before");
  const codec = { encode: (m: Buffer) => m, parts: (m: Buffer) => [Buffer.from("> "), m], decode: (b: Buffer) => b };
  const message = encoded(codec, payload);
  payload.write("behind");
  t.equal(wire(new Outgoing([message], false)).toString(), "> behind");
});
