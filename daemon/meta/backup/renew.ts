import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { MetaStore } from "../metastore.js";
import { decodeRow } from "../row-codec.js";
import { loadedRow, nextVolume } from "./loaded.js";

/** Rows of one step. */
const PAGE = 2000;

/** Makes the rows of a backup, which are all in the store, those of the next incarnation (see loaded.ts). */
export async function renew(store: MetaStore, incarnation?: number): Promise<VolumeRow> {
  const [bytes] = await store.load([key.volume]);
  if (bytes === undefined) fail("EBADMSG", "it has no volume");
  const volume = nextVolume(decodeRow(key.volume, bytes), incarnation);
  for (const kind of ["V", "P", "K"]) {
    const to = String.fromCharCode(kind.charCodeAt(0) + 1);
    for (let from: string | undefined = kind; from !== undefined;) {
      const rows = await store.scan({ from, to, limit: PAGE });
      const puts = new Map<string, Uint8Array>();
      const dels = new Set<string>();
      for (const row of rows) {
        const next = loadedRow(row, volume);
        if (next === undefined) dels.add(row.key);
        else if (next !== row) puts.set(next.key, next.value);
      }
      if (puts.size + dels.size > 0) await store.commit({ puts, dels });
      const last = rows.at(-1);
      from = rows.length < PAGE || last === undefined ? undefined : `${last.key}\0`;
    }
  }
  return volume;
}
