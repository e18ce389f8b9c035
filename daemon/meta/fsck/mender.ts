/**
 * Does what findings say can be done. Each act is one operation, that finds out for itself whether it is still needed; so
 * a daemon that dies in between leaves a consistent state, and the rest to be found again.
 *
 * A copy is taken off the list only when another one was read whole just before; the last one never is.
 */
import { FsError } from "../../../proto/errno.js";
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Cluster } from "../cluster/cluster.js";
import { pages } from "../cluster/pages.js";
import type { Executor } from "../executor.js";
import { hex, idIn, key, nameIn } from "../keys.js";
import { Observed } from "../observed.js";
import type { Reaper } from "../reaper.js";
import type { Recalls } from "../recalls.js";
import { dropAbsent, dropListed, mendListed } from "../rules/mend.js";
import type { DialStore } from "../store-calls.js";
import type { Tx } from "../tx.js";
import type { CopyFinding } from "./check-copies.js";
import type { Finding } from "./finding.js";

export interface MenderParts {
  readonly executor: Executor;
  readonly cluster: Pick<Cluster, "changeChunk" | "held" | "status">;
  readonly recalls: Pick<Recalls, "changed">;
  readonly reaper: Pick<Reaper, "orphaned" | "unopened">;
  readonly dialStore: DialStore;
}

export interface MendOutcome {
  /** Something was changed. */
  readonly mended: boolean;
  /** For people. */
  readonly outcome: string;
}

const DONE: MendOutcome = { mended: true, outcome: "done" };
const CHANGED: MendOutcome = { mended: false, outcome: "it has changed meanwhile: nothing was done" };

export class Mender {
  #isBusy = false;

  constructor(private readonly parts: MenderParts) {}

  /** Until what it returns is called there is no other repair. EBUSY: there is one. */
  begin(): () => void {
    if (this.#isBusy) throw new FsError("EBUSY", "another repair is running: wait until it has ended");
    this.#isBusy = true;
    return () => (this.#isBusy = false);
  }

  /** Resolves when it is durable. Never rejects for something that keeps this one alone from being mended. */
  async mend(finding: Finding): Promise<MendOutcome> {
    try {
      return (await this.#do(finding)) ? DONE : CHANGED;
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      return { mended: false, outcome: `nothing was done: ${error.detail === "" ? error.errno : error.detail}` };
    }
  }

  async #do(finding: Finding): Promise<boolean> {
    const how = finding.mend?.how;
    switch (how?.kind) {
      case undefined:
        return false;
      case "rule":
        return finding.chunk === 0 ? this.#run(how.rule) : this.parts.cluster.changeChunk(finding.chunk, how.rule);
      case "orphan":
        return this.#orphan(finding.inos[0] ?? 0, how.rule);
      case "listing":
        return this.#listing(how.dir);
      case "copy":
        return this.#copy(finding as CopyFinding);
    }
  }

  /** Clients hear of what it changes. */
  async #run(rule: (tx: Tx) => boolean): Promise<boolean> {
    const { executor, recalls } = this.parts;
    const { value, batch } = await executor.execute(0, (tx) => {
      const seen = new Observed(tx);
      const done = rule(seen);
      void recalls.changed(seen.changes(), 0);
      return done;
    });
    await executor.whenDurable(batch);
    return value;
  }

  async #orphan(ino: number, rule: (tx: Tx) => boolean): Promise<boolean> {
    const { reaper } = this.parts;
    if (!(await this.#run(rule))) return false;
    reaper.orphaned(ino);
    await reaper.unopened([ino]);
    return true;
  }

  /** A page of the folder in each operation. */
  async #listing(dir: number): Promise<boolean> {
    const { executor } = this.parts;
    let isDone = false;
    const entries = { from: `E${hex(dir)}`, to: `E${hex(dir + 1)}` };
    for await (const rows of pages<"E">(executor, entries)) {
      const names = rows.map((row) => nameIn(row.key));
      if (await this.#run((tx) => names.map((name) => mendListed(tx, dir, name)).includes(true))) isDone = true;
    }
    for await (const rows of pages<"C">(executor, { from: `C${hex(dir)}`, to: `C${hex(dir + 1)}` })) {
      const cookies = rows.map((row) => idIn(row.key, 1));
      if (await this.#run((tx) => cookies.map((cookie) => dropListed(tx, dir, cookie)).includes(true))) isDone = true;
    }
    return isDone;
  }

  async #copy({ chunk, node, disagreement }: CopyFinding): Promise<boolean> {
    const { cluster } = this.parts;
    const { kind, held } = disagreement;
    if (kind === "absent" || kind === "differs") {
      const other = await this.#otherCopy(chunk, node);
      // Read by its node, a file that is bad or gone leaves the index there, and the node says so itself.
      if (kind === "absent" && (await this.#isWhole(chunk, node))) return false;
      await cluster.changeChunk(chunk, (tx) => dropAbsent(tx, chunk, node, other));
      if (held !== undefined) await cluster.held(node, { chunk, ...held });
      return true;
    }
    if (held === undefined) return false;
    if (kind === "unlisted" && !(await this.#isWhole(chunk, node)))
      throw new FsError("EBADMSG", "it cannot be read whole");
    await cluster.held(node, { chunk, ...held });
    return true;
  }

  /** A node that has read its listed copy whole just now. ENOENT: there is none. */
  async #otherCopy(chunk: number, node: number): Promise<number> {
    const { value: copies = [] } = await this.parts.executor.execute(0, (tx) => tx.get(key.chunk(chunk))?.replicas);
    for (const copy of copies) {
      if (copy.node === node || copy.state !== ReplicaState.AVAILABLE) continue;
      if (await this.#isWhole(chunk, copy.node)) return copy.node;
    }
    throw new FsError("ENOENT", "no other copy can be read, and the last one is never dropped");
  }

  /** Whether the node has read the chunk as it is recorded. */
  async #isWhole(chunk: number, id: number): Promise<boolean> {
    const { cluster, dialStore, executor } = this.parts;
    const node = cluster.status().nodes.find((one) => one.id === id);
    if (node === undefined) return false;
    try {
      const calls = await dialStore(node);
      try {
        const { header } = await calls.ask({ $case: "verify", value: { chunk } });
        const { value: row } = await executor.execute(0, (tx) => tx.get(key.chunk(chunk)));
        return row?.len === header.len && row.crc === header.crc;
      } finally {
        calls.close();
      }
    } catch (error) {
      if (error instanceof FsError) return false;
      throw error;
    }
  }
}
