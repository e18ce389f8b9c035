import { mkdir, rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, mustBeNew } from "../../common/data-folder.js";
import { renameDurably } from "../../common/durable.js";
import { lockFolder } from "../../common/lock-file.js";
import { StartupError } from "../../common/running.js";
import type { MetaStore } from "../metastore.js";
import { openSqlite } from "../sqlite/sqlite-store.js";

/**
 * Fills the metadata of a data folder that is new or empty. Only when `fill` has resolved and everything is on disk does
 * the file get its name; what an interrupted run leaves no daemon starts on, and the next run removes it. A folder that was
 * made for it goes when it fails. StartupError: the folder has metadata, or other things in it.
 */
export async function inNewFolder<T>(folder: string, fill: (store: MetaStore) => Promise<T>): Promise<T> {
  const wasThere = await isThere(folder);
  await makeFolder(folder);
  const lock = await lockFolder(folder);
  const file = join(folder, "meta.db");
  const loading = join(folder, "loading");
  const temp = join(loading, "meta.db");
  const clear = () => rm(loading, { recursive: true, force: true });
  let isFilled = false;
  try {
    if (await isThere(file))
      throw new StartupError(`${folder} has metadata already`, { hint: "name a new folder; nothing was changed" });
    await clear();
    await mustBeNew(folder, { marker: "meta.db", leftover: "meta.db.lock", daemon: "metadata" });
    await mkdir(loading);
    const store = await openSqlite(temp);
    const filled = await fill(store).finally(() => store.close());
    if (await isThere(`${temp}-wal`)) throw new Error(`${temp}: SQLite could not write everything into its file`);
    await renameDurably(temp, file);
    isFilled = true;
    return filled;
  } finally {
    await clear();
    await lock.release();
    // Somebody else may have put something there.
    if (!isFilled && !wasThere) await rmdir(folder).catch(() => {});
  }
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
