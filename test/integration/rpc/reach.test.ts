import { test, type Test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { reachAs } from "../../../daemon/meta/cluster/reach.js";
import { answeringStore } from "../../helpers/answering-store.js";
import { serve, KEY } from "./lab.js";

const reachOf = reachAs({ key: KEY, volume: "volume-1", connectMs: 5_000, clock: systemClock });

function store(t: Test, uuid: string, volume: string, more: { host?: string; key?: Buffer } = {}): Promise<string> {
  return answeringStore(t, { uuid, volume, key: KEY, ...more });
}

const reach = (node: Parameters<typeof reachOf>[0]) => reachOf(node, { mustAnswer: true });

test("a storage daemon that answers where it says, new or of this volume, by name, IPv4 or IPv6, is believed", async (t) => {
  await reach({ uuid: "a", address: await store(t, "a", "") });
  await reach({ uuid: "a", address: await store(t, "a", "volume-1", { host: "[::1]" }) });
  const { port } = new URL(`http://${await store(t, "a", "volume-1")}`);
  await reach({ uuid: "a", address: `localhost:${port}` });
  await reach({ uuid: "a", address: await store(t, "", "volume-1") });
});

test("whoever else answers, or nobody, is said with the address", async (t) => {
  const refused = async (address: string, why: RegExp) => {
    const error = await reach({ uuid: "a", address }).catch((reason: unknown) => reason);
    t.match(error, { errno: "EADDRNOTAVAIL", detail: why });
    t.match(error, { detail: `reached at ${address}, but` });
  };
  await refused(await store(t, "b", "volume-1"), /another storage daemon answers there/);
  await refused(await store(t, "a", "volume-2"), /volume-2/);
  await refused(await store(t, "a", "", { key: Buffer.alloc(32, 9) }), /another key/);
  await refused((await serve(t, () => {})).address, /another kind of daemon/);
  const { server, address } = await serve(t, () => {});
  await server.stop();
  await refused(address, /ECONNREFUSED/);
});

test("where a node was before it may be silent, but nobody else may answer", async (t) => {
  const again = (address: string) => reachOf({ uuid: "a", address }, { mustAnswer: false });
  await again(await store(t, "a", "volume-1"));
  const { server, address } = await serve(t, () => {});
  await server.stop();
  await again(address);
  await t.rejects(again(await store(t, "b", "volume-1")), { message: /another storage daemon answers there/ });
  await t.rejects(again(await store(t, "a", "volume-2")), { message: /volume-2/ });
});
