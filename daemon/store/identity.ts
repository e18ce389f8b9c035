import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { makeFolder, mustBeNew } from "../common/data-folder.js";
import { syncPath, writeDurably } from "../common/durable.js";
import { lockFolder, type FolderLock } from "../common/lock-file.js";
import { StartupError } from "../common/running.js";
import { codeOf } from "./disk.js";
import { Layout } from "../common/chunks/layout.js";

const FORMAT = 1;

const identity = z.strictObject({
  /** Of the folder's layout and the chunk files. */
  format: z.number().int(),
  /** Of this folder, for good. */
  uuid: z.uuid(),
  /** The volume that it belongs to; empty until it has joined for the first time. */
  volume: z.string(),
  /** What the volume calls it; 0 until then. */
  node: z.number().int().nonnegative(),
});

export type Identity = Readonly<z.infer<typeof identity>>;

/** A data folder that this process alone uses. */
export interface DataFolder {
  readonly identity: Identity;
  /** Records durably what the volume said at the first join. */
  adopt(volume: string, node: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a data folder, or makes a new one of a folder that is missing or empty. StartupError when another process uses
 * it, when its identity is missing but other things are there, or when it is of a later format.
 */
export async function openDataFolder(data: string): Promise<DataFolder> {
  const layout = new Layout(data);
  await makeFolder(data);
  const lock = await lockFolder(data);
  try {
    return new Folder(layout.identity, lock, (await load(layout)) ?? (await create(layout)));
  } catch (error) {
    await lock.release();
    throw error;
  }
}

class Folder implements DataFolder {
  constructor(
    private readonly path: string,
    private readonly lock: FolderLock,
    private current: Identity,
  ) {}

  get identity(): Identity {
    return this.current;
  }

  async adopt(volume: string, node: number): Promise<void> {
    if (this.current.volume === volume && this.current.node === node) return;
    const next = { ...this.current, volume, node };
    await save(this.path, next);
    this.current = next;
  }

  close(): Promise<void> {
    return this.lock.release();
  }
}

async function load(layout: Layout): Promise<Identity | undefined> {
  let text: string;
  try {
    text = await readFile(layout.identity, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new StartupError(`cannot read ${layout.identity}: ${(error as Error).message}`, {
      hint: "check the folder's owner and its disk",
      cause: error,
    });
  }
  const found = parse(text);
  if (found === undefined) {
    throw new StartupError(`${layout.identity} is damaged`, {
      hint: "restore that file; or name an empty folder, and the volume copies its chunks there from the other nodes",
    });
  }
  if (found.format !== FORMAT) {
    throw new StartupError(`${layout.root} has format ${found.format}, this build knows ${FORMAT}`, {
      hint: "install the version of BigFS that wrote it, or a later one",
    });
  }
  return found;
}

function parse(text: string): Identity | undefined {
  try {
    return identity.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function create(layout: Layout): Promise<Identity> {
  await mustBeNew(layout.root, { marker: "identity.json", leftover: "identity.json.tmp", daemon: "storage" });
  const fresh: Identity = { format: FORMAT, uuid: randomUUID(), volume: "", node: 0 };
  await save(layout.identity, fresh).catch((cause: unknown) => {
    const hint = "make room on that disk, or name another folder";
    throw new StartupError(`cannot write ${layout.identity}: ${(cause as Error).message}`, { hint, cause });
  });
  // The folder may be new itself. Its parent may be closed to this user; then it was not made here.
  await syncPath(dirname(layout.root)).catch(() => {});
  return fresh;
}

function save(path: string, value: Identity): Promise<void> {
  return writeDurably(path, Buffer.from(`${JSON.stringify(value, null, 2)}\n`));
}
