import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { FsError } from "../../../proto/errno.js";
import { StartupError } from "../../common/running.js";
import type { MetaStore } from "../metastore.js";
import { openBackup, rowsOf, type Backup } from "./dump.js";
import { inNewFolder } from "./new-volume.js";
import { renew } from "./renew.js";

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
      const rows = await putRows(store, backup);
      const volume = await renew(store, dump.incarnation);
      return { volume, rows, created: backup.header.created?.sec ?? 0 };
    } catch (error) {
      throw refusalOf(dump.name, error);
    }
  });
}

/** Stores the rows of a dump as they are; how many. Throws EBADMSG, at last, unless it was whole. */
export async function putRows(store: MetaStore, backup: Backup): Promise<number> {
  let count = 0;
  for await (const rows of rowsOf(backup)) {
    await store.commit({ puts: new Map(rows.map(({ key, value }) => [key, value])), dels: new Set() });
    count += rows.length;
  }
  return count;
}

function refusalOf(name: string, error: unknown): unknown {
  if (!(error instanceof FsError) || error.errno !== "EBADMSG") return error;
  return new StartupError(`${name} cannot be loaded: ${error.detail}`, {
    hint: "nothing was made of it; take another dump, or 'bigfsd meta restore' what the storage nodes have",
    cause: error,
  });
}
