/** An administrator, on a machine that never fails. */
import { ADMIN } from "../../daemon/common/rpc/kinds.js";
import { FsError, errnoFromWire } from "../../proto/errno.js";
import type { AdminReply, AdminRequest } from "../../proto/gen/bigfs/v1/meta.js";
import { KEY, META, type Lab } from "./machines.js";
import { Life } from "./scheduler.js";

const ANSWER_MS = 10_000;
const AGAIN_MS = 1_000;

type Op = NonNullable<AdminRequest["op"]>;

export class Operator {
  readonly #life: Life;

  constructor(private readonly lab: Lab) {
    this.#life = new Life(lab.scheduler, "admin", () => 0);
  }

  /** Has a node emptied. It may be refused, or not be heard. */
  async drain(name: string): Promise<void> {
    await this.#setDraining(name, true).catch((error: unknown) => this.#note(`${name} is not drained`, error));
  }

  /** It is to be used again: asked for until it is so. */
  async keep(name: string): Promise<void> {
    for (;;) {
      try {
        return await this.#setDraining(name, false);
      } catch (error) {
        this.#note(`${name} is still drained`, error);
        await this.lab.scheduler.pause(AGAIN_MS);
      }
    }
  }

  #note(what: string, error: unknown): void {
    this.lab.scheduler.note(`${what}: ${String(error)}`);
  }

  async #setDraining(name: string, draining: boolean): Promise<void> {
    const status = await this.#ask({ $case: "status", value: {} });
    const nodes = status?.$case === "status" ? status.value.nodes : [];
    const node = nodes.find((one) => one.name === name)?.id;
    if (node === undefined) throw new FsError("ENOENT", `there is no node ${name}`);
    await this.#ask({ $case: "setNode", value: { node, draining } });
  }

  async #ask(op: Op): Promise<AdminReply["op"]> {
    const { clock } = this.#life;
    const { connectMs } = this.lab.deadlines;
    const link = await this.lab.network.of(this.#life).dial(ADMIN, META, { key: KEY, role: "admin", connectMs, clock });
    let cancel = (): void => {};
    try {
      const reply = await new Promise<AdminReply>((resolve, reject) => {
        cancel = clock.after(ANSWER_MS, () => reject(new FsError("ETIMEDOUT")));
        link.open({ message: resolve, closed: reject });
        link.send({ id: 1, op });
      });
      if (reply.errno !== "") throw new FsError(errnoFromWire(reply.errno), reply.detail);
      return reply.op;
    } finally {
      cancel();
      link.close();
    }
  }
}
