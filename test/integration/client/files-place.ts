import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { Files } from "../../../mount/files/files.js";
import { parsePath } from "../../../mount/files/path.js";
import type { TreeOptions } from "../../../mount/files/trees.js";
import { type Client, Lab } from "./lab.js";

/** A client without a kernel, and a folder of this machine. */
export interface Place {
  readonly files: Files;
  readonly client: Client;
  readonly dir: string;
  readonly at: (path: string) => ReturnType<Files["place"]>;
  readonly names: (path?: string) => Promise<string[]>;
}

export async function place(t: Test): Promise<Place> {
  const lab = await Lab.start(t);
  const client = await lab.client({ permissions: "rules" });
  const dir = await mkdtemp(join(tmpdir(), "bigfs-files-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const files = new Files(client.fs, { uid: 0, gid: 0, pid: 1 });
  const names = async (path = "/") => {
    const { ino } = await files.stat(parsePath(path));
    return (await files.list(ino)).map(({ name }) => name as string).sort();
  };
  return { files, client, dir, names, at: (path) => files.place(parsePath(path)) };
}

export function options(more: Partial<TreeOptions> = {}): TreeOptions {
  const nothing = () => {};
  const told = { found: nothing, copied: nothing, listed: nothing, done: nothing, failed: nothing };
  return { clock: systemClock, preserve: false, update: false, signal: new AbortController().signal, ...told, ...more };
}

export async function content({ files }: Place, path: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of files.read(await files.stat(parsePath(path)))) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}
