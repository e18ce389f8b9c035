import { FsError } from "../../proto/errno.js";
import type { Attr, DirEntry, ReadDir } from "../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../proto/limits.js";
import { nameBytes } from "../../proto/name.js";
import type { Executor } from "./executor.js";
import type { Grants, PageGrant } from "./grants.js";
import { key } from "./keys.js";
import type { ListedEntry } from "./listing.js";
import { credOf, type Call, type Outcome } from "./requests.js";
import { readdirCheck } from "./rules/attributes.js";
import type { Context } from "./rules/context.js";
import { attrOf } from "./rules/inodes.js";
import type { Tx } from "./tx.js";

export interface ListingServiceParts {
  readonly executor: Executor;
  readonly grants: Grants;
  readonly context: (call: Call) => Context;
}

/** Attributes of a page (undefined: of what is not there any more), and the leases that may be told of. */
interface Joined {
  readonly attrs: readonly (Attr | undefined)[];
  readonly grant: PageGrant;
}

/** Pages of folders. */
export class ListingService {
  constructor(private readonly parts: ListingServiceParts) {}

  async handle(call: Call): Promise<Outcome> {
    if (call.op.$case !== "readdir") throw new Error(call.op.$case);
    const args = call.op.value;
    const { executor } = this.parts;
    const ctx = this.parts.context(call);
    const { value: folder } = await call.session.execute((tx) => ({
      ...readdirCheck(tx, ctx, args),
      version: tx.get(key.inode(args.dir))?.version,
    }));
    const limit = Math.min(args.limit === 0 ? LIMITS.entriesPerPage : args.limit, LIMITS.entriesPerPage);
    const { entries, end } = await executor.list(call.session.id, { dir: args.dir, after: args.after, limit });
    const joined = await this.#join(call, args, entries, folder.version);
    return { waits: [], answer: () => this.#answer(entries, joined, { end, parent: folder.parent }) };
  }

  async #join(
    call: Call,
    { dir, withAttrs }: ReadDir,
    entries: readonly ListedEntry[],
    version: number | undefined,
  ): Promise<Joined> {
    const inos = withAttrs ? entries.map((entry) => entry.ino) : [];
    const hint = [key.inode(dir), ...inos.map((ino) => key.inode(ino))];
    const { value } = await call.session.execute((tx) => this.#rule(tx, call, { dir, version, inos, entries }), {
      hint,
      input: call.op,
    });
    return value;
  }

  /** Every change of an entry raises the folder's version: when it is the same, the entries are as they were listed. */
  #rule(
    tx: Tx,
    call: Call,
    page: {
      readonly dir: number;
      readonly version: number | undefined;
      readonly inos: readonly number[];
      readonly entries: readonly ListedEntry[];
    },
  ): Joined {
    const { dir, version, inos, entries } = page;
    const rows = inos.map((ino) => tx.get(key.inode(ino)));
    const isSame = tx.get(key.inode(dir))?.version === version;
    const inodes = rows.filter((row) => row !== undefined);
    const names = isSame ? entries.map((entry) => nameBytes(entry.name)) : undefined;
    const { id, readOnly } = call.session;
    const grant = this.parts.grants.givePage(id, call.frame.id, { dir, names, inodes, isReadOnly: readOnly });
    return { attrs: rows.map((row) => row && attrOf(row)), grant };
  }

  #answer(
    listed: readonly ListedEntry[],
    { attrs, grant }: Joined,
    about: { readonly end: boolean; readonly parent: number },
  ): ReturnType<Outcome["answer"]> {
    const { grants } = this.parts;
    const areHeld = (leases: PageGrant["names"]) => leases?.every((lease) => grants.isHeld(lease)) ?? false;
    const present = (grant.inodes ?? []).values();
    const entries = listed.map(({ name, ino, type, cookie }, i): DirEntry => {
      const attr = attrs[i];
      const lease = attr && present.next().value;
      return { name: nameBytes(name), ino, type, cookie, attr, exclusive: grants.isExclusive(lease) };
    });
    const value = {
      entries,
      ...about,
      cached: areHeld(grant.inodes),
      entryCached: areHeld(grant.names),
      exclusive: grant.exclusive?.state === "live",
    };
    return { op: { $case: "readdir", value } };
  }
}

/** For rules that only look. */
export function looking(call: Call, base: Omit<Context, "who" | "session" | "readOnly" | "freshIno">): Context {
  const freshIno = (): number => {
    throw new FsError("EIO", "nothing is made here");
  };
  return { ...base, who: credOf(call), session: call.session.id, readOnly: call.session.readOnly, freshIno };
}
