import type { Test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { createLog } from "../../../daemon/common/log.js";
import { dial, type DialOptions } from "../../../daemon/common/rpc/client.js";
import { SESSION } from "../../../daemon/common/rpc/kinds.js";
import type { Link } from "../../../daemon/common/rpc/link.js";
import { RpcServer, type RpcServerOptions } from "../../../daemon/common/rpc/server.js";
import type { FsError } from "../../../proto/errno.js";
import type { ClientFrame, ServerFrame } from "../../../proto/gen/bigfs/v1/meta.js";

export const KEY = Buffer.alloc(32, 1);
export const DIAL: DialOptions = { key: KEY, role: "mount", connectMs: 5_000, clock: systemClock };

export type ServerLink = Link<ServerFrame, ClientFrame>;
export type ClientLink = Link<ClientFrame, ServerFrame>;

export const frame = (id: number, name = Buffer.alloc(0)): ClientFrame => ({
  id,
  oldestOpen: 0,
  cred: undefined,
  replay: undefined,
  again: false,
  clockMs: 0,
  op: { $case: "lookup", value: { dir: 1, name } },
});

export const answer = (id: number): ServerFrame => ({
  id,
  errno: "",
  durable: 0,
  echoMs: 0,
  stamp: undefined,
  op: { $case: "unlink", value: {} },
});

/** A server of sessions with `accept`; stopped with the test. */
export async function serve(t: Test, accept: (link: ServerLink) => void, opts: Partial<RpcServerOptions> = {}) {
  const server = new RpcServer({
    key: KEY,
    log: createLog("test", "silent"),
    clock: systemClock,
    volume: () => ({ uuid: "volume-1", incarnation: 3 }),
    ...opts,
  });
  server.handle(SESSION, accept);
  const address = await server.listen("127.0.0.1:0");
  t.teardown(() => server.stop());
  return { server, address };
}

/** Answers each request with its id. */
export function echo(link: ServerLink): void {
  link.open({ message: (m) => link.send(answer(m.id)), closed: () => {} });
}

export interface Recorded<In> {
  readonly got: In[];
  readonly closed: FsError[];
  /** Resolves when `count` messages are there. */
  messages(count: number): Promise<In[]>;
  readonly end: Promise<FsError>;
}

/** Opens a link and keeps what comes. */
export function record<Out, In>(link: Link<Out, In>): Recorded<In> {
  const got: In[] = [];
  const closed: FsError[] = [];
  let wake = () => {};
  const end = new Promise<FsError>((resolve) => {
    link.open({
      message: (m) => {
        got.push(m);
        wake();
      },
      closed: (reason) => {
        closed.push(reason);
        resolve(reason);
        wake();
      },
    });
  });
  const messages = async (count: number) => {
    while (got.length < count) {
      for (const reason of closed) throw reason;
      await new Promise<void>((resolve) => (wake = resolve));
    }
    return got;
  };
  return { got, closed, messages, end };
}

export async function connect(t: Test, address: string, opts: Partial<DialOptions> = {}): Promise<ClientLink> {
  const link = await dial(SESSION, address, { ...DIAL, ...opts });
  t.teardown(() => link.close());
  return link;
}
