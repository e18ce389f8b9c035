import type { Test } from "tap";
import { systemClock } from "../../daemon/common/clock.js";
import { createLog } from "../../daemon/common/log.js";
import { CHUNKS } from "../../daemon/common/rpc/kinds.js";
import { RpcServer } from "../../daemon/common/rpc/server.js";
import { NO_PAYLOAD } from "../../proto/chunk-codec.js";

/** Where something answers that is a storage daemon with this uuid, and nothing more. */
export async function answeringStore(
  t: Test,
  about: { readonly uuid: string; readonly key: Buffer; readonly volume?: string; readonly host?: string },
): Promise<string> {
  const { uuid, key, volume = "", host = "127.0.0.1" } = about;
  const log = createLog("test", "silent");
  const server = new RpcServer({ key, log, clock: systemClock, volume: () => ({ uuid: volume, incarnation: 0 }) });
  server.handle(CHUNKS, (link) => {
    const nothing = { errno: "", detail: "", nodes: [], len: 0, crc: 0, process: undefined, folder: "" };
    link.open({
      message: ({ header: { id } }) => link.send({ header: { ...nothing, id, uuid }, payload: NO_PAYLOAD }),
      closed: () => {},
    });
  });
  t.teardown(() => server.stop());
  return server.listen(`${host}:0`);
}
