import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../common/clock.js";
import { makeFolder, mustBeNew } from "../common/data-folder.js";
import { lockFolder } from "../common/lock-file.js";
import { StartupError } from "../common/running.js";
import { Executor } from "./executor.js";
import type { MetaOptions } from "./options.js";
import type { MetaStore } from "./metastore.js";
import { openSqlite } from "./sqlite/sqlite-store.js";
import { openVolume } from "./volume-start.js";

/**
 * Makes an empty volume in a folder that has none, for a daemon to serve. StartupError: it has one, a daemon runs on it,
 * or it cannot be written.
 */
export async function createVolumeIn(
  folder: string,
  shape: MetaOptions["create"],
  parts: { readonly clock: Clock; readonly log: Logger },
): Promise<{ readonly volume: string } & MetaOptions["create"]> {
  await makeFolder(folder);
  const lock = await lockFolder(folder);
  try {
    const store = await openMetadata(folder);
    try {
      const executor = new Executor({ store, log: parts.log });
      const { volume, isNew } = await openVolume({ executor, clock: parts.clock }, shape);
      if (!isNew)
        throw new StartupError(`${folder} has a volume already: ${volume.uuid}`, { hint: "name a new folder" });
      return { volume: volume.uuid, ...shape };
    } finally {
      await store.close();
    }
  } finally {
    await lock.release();
  }
}

/** The rows in a data folder, which exists; makes an empty store in an empty one. StartupError when it is neither. */
export async function openMetadata(folder: string): Promise<MetaStore> {
  const file = join(folder, "meta.db");
  const isThere = await stat(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT",
  );
  if (!isThere) await mustBeNew(folder, { marker: "meta.db", leftover: "meta.db.lock", daemon: "metadata" });
  return openSqlite(file);
}
