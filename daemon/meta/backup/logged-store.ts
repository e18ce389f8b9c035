import { CommitRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../keys.js";
import type { Batch, MetaStore, StoredRow, StoreSnapshot } from "../metastore.js";
import { decodeRow, encodeRow } from "../row-codec.js";
import type { CommitLog } from "./commit-log.js";

/** Opens the commit log over a store: what was committed from then on is in it, each commit with its number. */
export async function logged(store: MetaStore, log: Pick<CommitLog, "add">): Promise<MetaStore> {
  const [row, volume] = await store.load([key.commit, key.volume]);
  return new LoggedStore(store, log, { seq: row === undefined ? 0 : decodeRow(key.commit, row).seq, volume });
}

/** Number of the last commit that is in a snapshot. */
export async function seqOf(rows: StoreSnapshot): Promise<number> {
  const [row] = await rows.scan({ from: key.commit, to: `${key.commit}\0`, limit: 1 });
  return row === undefined ? 0 : decodeRow(key.commit, row.value).seq;
}

/**
 * Numbers every commit, in a row of its own that is written with it, so that a snapshot says where the log goes on.
 *
 * While nobody does anything the volume's age is counted all the same. A commit of that alone is neither numbered nor
 * logged: the next one that is takes it along, so that nothing in the log is dated later than the volume. (A restore
 * without it finds the volume younger: what is to be removed waits longer.)
 */
class LoggedStore implements MetaStore {
  #seq: number;
  /** The volume's row as it is stored; undefined: there is none yet. */
  #volume: Uint8Array | undefined;
  #isAgeLogged = true;

  constructor(
    private readonly store: MetaStore,
    private readonly log: Pick<CommitLog, "add">,
    from: { readonly seq: number; readonly volume: Uint8Array | undefined },
  ) {
    this.#seq = from.seq;
    this.#volume = from.volume;
  }

  load(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.store.load(keys);
  }

  scan(range: { from: string; to: string; limit: number }): Promise<StoredRow[]> {
    return this.store.scan(range);
  }

  async commit({ puts, dels }: Batch): Promise<void> {
    const volume = puts.get(key.volume);
    const isAgeAlone = volume !== undefined && puts.size + dels.size === 1 && this.#isAge(volume);
    const seq = this.#seq + 1;
    const number = encodeRow(key.commit, CommitRow.fromPartial({ seq }));
    await this.store.commit({ puts: isAgeAlone ? puts : new Map(puts).set(key.commit, number), dels });
    this.#volume = volume ?? this.#volume;
    if (isAgeAlone) {
      this.#isAgeLogged = false;
      return;
    }
    this.#seq = seq;
    const logged = new Map(puts).set(key.commit, number);
    if (!this.#isAgeLogged && this.#volume !== undefined) logged.set(key.volume, this.#volume);
    this.#isAgeLogged = true;
    this.log.add({ seq, puts: logged, dels });
  }

  snapshot(): Promise<StoreSnapshot> {
    return this.store.snapshot();
  }

  close(): Promise<void> {
    return this.store.close();
  }

  /** The row differs from the stored one in nothing but the volume's age. */
  #isAge(bytes: Uint8Array): boolean {
    if (this.#volume === undefined) return false;
    const { servedSec } = decodeRow(key.volume, bytes);
    const aged = encodeRow(key.volume, { ...decodeRow(key.volume, this.#volume), servedSec });
    return Buffer.from(aged).equals(bytes);
  }
}
