import fc from "fast-check";
import { test } from "tap";
import { chunkReplyCodec, chunkRequestCodec } from "../../../proto/chunk-codec.js";

test("headers and payloads come out as they went in, the payload as a view", async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), fc.nat(), fc.nat(), (data, chunk, crc) => {
      const payload = Buffer.from(data);
      const put = {
        chunk,
        crc,
        forward: [{ node: 3, address: "h:1" }],
        minCopies: 2,
        sync: true,
        copy: false,
      };
      const message = { header: { id: 7, op: { $case: "put" as const, value: put } }, payload };
      const bytes = chunkRequestCodec.encode(message);
      const decoded = chunkRequestCodec.decode(bytes);
      const same = decoded.payload.equals(payload) && JSON.stringify(decoded.header) === JSON.stringify(message.header);
      return (
        same && decoded.payload.buffer === bytes.buffer && Buffer.concat(chunkRequestCodec.parts(message)).equals(bytes)
      );
    }),
  );
  t.pass();
});

test("the payload goes out uncopied", async (t) => {
  const payload = Buffer.from("data");
  const reply = { id: 1, errno: "", detail: "", nodes: [], len: 0, crc: 0, process: undefined, folder: "", uuid: "" };
  t.equal(chunkReplyCodec.parts({ header: reply, payload }).at(-1), payload);
});

test("messages that are too short for their header are refused with EPROTO", async (t) => {
  for (const bytes of [[], [1], [0, 0, 0], [1, 0, 0, 0], [255, 255, 255, 255, 1, 2]]) {
    t.throws(() => chunkRequestCodec.decode(Buffer.from(bytes)), { name: "FsError", errno: "EPROTO" });
  }
});
