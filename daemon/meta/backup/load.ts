import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { FsError } from "../../../proto/errno.js";
import { StartupError } from "../../common/running.js";
import { key } from "../keys.js";
import type { MetaStore, StoredRow } from "../metastore.js";
import { openBackup, rowsOf } from "./dump.js";
import { loadedRow, nextVolume } from "./loaded.js";
import { inNewFolder } from "./new-volume.js";

export interface Loaded {
  readonly volume: VolumeRow;
  readonly rows: number;
  /** When the backup was made, seconds since 1970. */
  readonly created: number;
}

/**
 * Makes the metadata of a new data folder from a dump. StartupError: the dump is damaged, cut or none at all, or the
 * folder is not new; then there is nothing under the final name.
 */
export function loadDump(
  dump: { readonly name: string; readonly bytes: AsyncIterable<Buffer>; readonly incarnation?: number | undefined },
  folder: string,
): Promise<Loaded> {
  return inNewFolder(folder, async (store) => {
    try {
      const backup = await openBackup(dump.bytes);
      const volume = nextVolume(backup.header.volume, dump.incarnation);
      let rows = 0;
      for await (const block of rowsOf(backup)) rows += await putRows(store, block, volume);
      if ((await store.load([key.volume]))[0] === undefined) throw new FsError("EBADMSG", "it has no volume");
      return { volume, rows, created: backup.header.created?.sec ?? 0 };
    } catch (error) {
      throw refusalOf(dump.name, error);
    }
  });
}

/** Stores rows of a backup as the new volume has them; how many. */
export async function putRows(store: MetaStore, rows: readonly StoredRow[], volume: VolumeRow): Promise<number> {
  const puts = new Map<string, Uint8Array>();
  for (const row of rows) {
    const loaded = loadedRow(row, volume);
    if (loaded !== undefined) puts.set(loaded.key, loaded.value);
  }
  await store.commit({ puts, dels: new Set() });
  return puts.size;
}

function refusalOf(name: string, error: unknown): unknown {
  if (!(error instanceof FsError) || error.errno !== "EBADMSG") return error;
  return new StartupError(`${name} cannot be loaded: ${error.detail}`, {
    hint: "nothing was made of it; take another dump, or 'bigfsd meta restore' what the storage nodes have",
    cause: error,
  });
}
