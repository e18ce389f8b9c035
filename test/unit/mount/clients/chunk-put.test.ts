import { crc32 } from "node:zlib";
import { test } from "tap";
import { FakeClock } from "../../../helpers/fake-clock.js";
import { turns } from "./scripted-meta.js";
import { ScriptedStore, clientsOf, nodeInfo } from "./scripted-store.js";

const data = Buffer.from("some bytes of a file");
const PUT = { id: 9, data, minCopies: 2, sync: true };

test("a chunk goes to the first node, with its checksum and where else it shall go", async (t) => {
  const store = await ScriptedStore.start(t, 1);
  const clients = clientsOf(t, [store.node, nodeInfo(2, "h:2"), nodeInfo(3, "h:3")]);
  await clients.put({ ...PUT, nodes: [1, 3, 2] });
  t.match(store.puts, [
    {
      put: {
        chunk: 9,
        crc: crc32(data),
        minCopies: 2,
        sync: true,
        copy: false,
        forward: [
          { node: 3, address: "h:3" },
          { node: 2, address: "h:2" },
        ],
      },
    },
  ]);
  t.ok(store.puts[0]?.data.equals(data));
});

test("a full node is ENOSPC; everything else is EIO", async (t) => {
  const store = await ScriptedStore.start(t, 1);
  const clients = clientsOf(t, [store.node, nodeInfo(2, "127.0.0.1:1")]);
  for (const [errno, told] of [
    ["ENOSPC", "ENOSPC"],
    ["EIO", "EIO"],
    ["EEXIST", "EIO"],
    ["EBADMSG", "EIO"],
    ["ENOTHING", "EIO"],
  ] as const) {
    store.answer = () => ({ errno });
    await t.rejects(clients.put({ ...PUT, nodes: [1, 2] }), { name: "FsError", errno: told }, errno);
  }
  await t.rejects(clients.put({ ...PUT, nodes: [2, 1] }), { name: "FsError", errno: "EIO" }, "not there");
  await t.rejects(clients.put({ ...PUT, nodes: [7, 1] }), { name: "FsError", errno: "EIO" }, "not in the map");
  t.equal(store.puts.length, 5, "never to another node than the first");
});

test("a node that says nothing is EIO after the time of one try; who has gone away waits no more", async (t) => {
  const clock = new FakeClock();
  const store = await ScriptedStore.start(t, 1);
  store.answer = () => "silence";
  const clients = clientsOf(t, [store.node], { clock });
  let isOver = false;
  const put = clients.put({ ...PUT, nodes: [1] }).finally(() => (isOver = true));
  const failed = t.rejects(put, { name: "FsError", errno: "EIO" });
  while (store.puts.length === 0) await turns(1);
  await clock.advance(9_999);
  t.notOk(isOver);
  await clock.advance(1);
  await failed;
  const abort = new AbortController();
  const aborted = t.rejects(clients.put({ ...PUT, nodes: [1], signal: abort.signal }), {
    name: "FsError",
    errno: "EINTR",
  });
  while (store.puts.length < 2) await turns(1);
  abort.abort();
  await aborted;
});
