import { CommitRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../keys.js";
import type { Batch, MetaStore, StoredRow, StoreSnapshot } from "../metastore.js";
import { decodeRow, encodeRow } from "../row-codec.js";
import type { CommitLog } from "./commit-log.js";

/** Opens the commit log over a store: what was committed from then on is in it, each commit with its number. */
export async function logged(store: MetaStore, log: Pick<CommitLog, "add">): Promise<MetaStore> {
  const [row] = await store.load([key.commit]);
  return new LoggedStore(store, log, row === undefined ? 0 : decodeRow(key.commit, row).seq);
}

/** Number of the last commit that is in a snapshot. */
export async function seqOf(rows: StoreSnapshot): Promise<number> {
  const [row] = await rows.scan({ from: key.commit, to: `${key.commit}\0`, limit: 1 });
  return row === undefined ? 0 : decodeRow(key.commit, row.value).seq;
}

/** Numbers every commit, in a row of its own that is written with it, so that a snapshot says where the log goes on. */
class LoggedStore implements MetaStore {
  constructor(
    private readonly store: MetaStore,
    private readonly log: Pick<CommitLog, "add">,
    private seq: number,
  ) {}

  load(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.store.load(keys);
  }

  scan(range: { from: string; to: string; limit: number }): Promise<StoredRow[]> {
    return this.store.scan(range);
  }

  async commit({ puts, dels }: Batch): Promise<void> {
    const seq = this.seq + 1;
    const numbered = new Map(puts).set(key.commit, encodeRow(key.commit, CommitRow.fromPartial({ seq })));
    await this.store.commit({ puts: numbered, dels });
    this.seq = seq;
    this.log.add({ seq, puts: numbered, dels });
  }

  snapshot(): Promise<StoreSnapshot> {
    return this.store.snapshot();
  }

  close(): Promise<void> {
    return this.store.close();
  }
}
