import { crc32 } from "node:zlib";
import type { InodeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { nameOf, type Name } from "../../../proto/name.js";
import { idIn, key, nameIn } from "../keys.js";
import type { StoreSnapshot } from "../metastore.js";
import { S_IFMT, isDir } from "../rules/modes.js";
import { ROOT_INO } from "../rules/volume.js";
import {
  dropOrphan,
  mendCounter,
  mendNextCookie,
  mendOrphan,
  mendParent,
  mendType,
  type Counter,
} from "../rules/mend.js";
import { byRule, ofInode, refused, type Finding, type Remedy } from "./finding.js";
import { rowsIn } from "./rows-in.js";

/** What is compared of an inode; the whole rows would take ten times as much memory. */
type Kept = Pick<
  InodeRow,
  "ino" | "mode" | "nlink" | "size" | "parent" | "children" | "nextCookie" | "stored" | "sweeping"
>;

/** What is counted of one inode. */
interface Counted {
  readonly inode: Kept;
  /** Entries that name it. */
  names: number;
  /** Of a folder: its entries, those of them that are folders, and its rows in listing order. */
  entries: number;
  folders: number;
  cookies: number;
  /** Sums over the contents of entries, and of rows in listing order: they say the same. */
  entrySum: number;
  cookieSum: number;
  /** Bytes that its slots cover. */
  stored: number;
  isOrphan: boolean;
  isSwept: boolean;
  /** Of a folder: the entry that names it in another one than it says. */
  elsewhere: { readonly dir: number; readonly name: Name } | undefined;
}

export interface InodeTotals {
  inodes: number;
  /** Sum of the sizes of files. */
  bytes: number;
}

/** Inodes whose counters are in memory at a time; each takes a few hundred bytes. All entries are read once for each part. */
const PART = 100_000;

/** Inodes against entries, listings, slots, orphans and sweeps; adds to `totals`. */
export async function* checkInodes(rows: StoreSnapshot, totals: InodeTotals, part = PART): AsyncGenerator<Finding> {
  for (let first = 0; ;) {
    const counted = new Map<number, Counted>();
    let end = Infinity;
    for await (const { row } of rowsIn<"I">(rows, { from: key.inode(first), to: "J" })) {
      if (counted.size === part) {
        end = row.ino;
        break;
      }
      counted.set(row.ino, newCounted(row));
    }
    yield* count(rows, counted, { first, end });
    for (const one of counted.values()) {
      totals.inodes += 1;
      if ((one.inode.mode & S_IFMT) === 0o100000) totals.bytes += one.inode.size;
      yield* judge(one);
    }
    if (end === Infinity) return;
    first = end;
  }
}

function newCounted(inode: InodeRow): Counted {
  const sums = { names: 0, entries: 0, folders: 0, cookies: 0, entrySum: 0, cookieSum: 0, stored: 0 };
  const { ino, mode, nlink, size, parent, children, nextCookie, stored, sweeping } = inode;
  const kept = { ino, mode, nlink, size, parent, children, nextCookie, stored, sweeping };
  return { inode: kept, ...sums, isOrphan: false, isSwept: false, elsewhere: undefined };
}

/** Counts what names these inodes and what belongs to them: those from `first` to before `end`. */
async function* count(
  rows: StoreSnapshot,
  counted: ReadonlyMap<number, Counted>,
  { first, end }: { readonly first: number; readonly end: number },
): AsyncGenerator<Finding> {
  const isHere = (ino: number): boolean => ino >= first && ino < end;
  const range = (kind: string) => ({
    from: `${kind}${key.inode(first).slice(1)}`,
    to: end === Infinity ? String.fromCharCode(kind.charCodeAt(0) + 1) : `${kind}${key.inode(end).slice(1)}`,
  });
  for await (const { key: at, row } of rowsIn<"E">(rows, { from: "E", to: "F" })) {
    const [dir, name] = [idIn(at), nameIn(at)];
    const folder = counted.get(dir);
    if (folder !== undefined) {
      folder.entries += 1;
      folder.folders += row.type === 0o040000 ? 1 : 0;
      folder.entrySum += sumOf(name, row);
    } else if (isHere(dir)) yield ofInode("folder", dir, `it has entries, and there is no such folder`, FOLDER_LOST);
    const child = counted.get(row.ino);
    if (child === undefined) {
      if (isHere(row.ino))
        yield ofInode("entry", row.ino, `an entry of folder ${dir} names it, and it does not exist`, INODE_LOST);
      continue;
    }
    child.names += 1;
    if ((child.inode.mode & S_IFMT) !== row.type)
      yield ofInode(
        "type",
        row.ino,
        `its entry in folder ${dir} says another type`,
        byRule("the entry gets the type of the inode", (tx) => mendType(tx, dir, name)),
      );
    if (isDir(child.inode) && child.inode.parent !== dir) child.elsewhere = { dir, name };
  }
  for await (const { key: at, row } of rowsIn<"C">(rows, range("C"))) {
    const folder = counted.get(idIn(at));
    if (folder === undefined) {
      yield ofInode("folder", idIn(at), "it has a listing, and there is no such folder", FOLDER_LOST);
      continue;
    }
    folder.cookies += 1;
    folder.cookieSum += sumOf(nameOf(row.name), { ...row, cookie: idIn(at, 1) });
    const [dir, cookie] = [idIn(at), idIn(at, 1)];
    if (cookie >= folder.inode.nextCookie)
      yield ofInode(
        "cookies",
        dir,
        `cookie ${cookie} will be given again`,
        byRule("the folder goes on behind it", (tx) => mendNextCookie(tx, dir, cookie)),
      );
  }
  for await (const { key: at, row } of rowsIn<"S">(rows, range("S"))) {
    const file = counted.get(idIn(at));
    if (file !== undefined) file.stored += row.slices.reduce((sum, { len }) => sum + len, 0);
  }
  for await (const { key: at, row } of rowsIn<"O">(rows, range("O"))) {
    const file = counted.get(row.ino);
    if (file === undefined)
      yield ofInode(
        "orphan",
        row.ino,
        "it is listed as a file without a name, and does not exist",
        byRule("it is taken off that list", (tx) => dropOrphan(tx, idIn(at))),
      );
    else file.isOrphan = true;
  }
  for await (const { row } of rowsIn<"W">(rows, range("W"))) {
    const file = counted.get(row.ino);
    if (file === undefined ? !row.remove : row.remove)
      yield ofInode(
        "sweep",
        row.ino,
        file === undefined ? "work on it is noted, and it does not exist" : "it is removed, and exists",
        SWEEP_UNCLEAR,
      );
    if (file !== undefined) file.isSwept = true;
  }
}

function sumOf(name: string, { ino, type, cookie }: { ino: number; type: number; cookie: number }): number {
  return crc32(Buffer.from(`${name}/${ino}/${type}/${cookie}`, "latin1"));
}

const FOLDER_LOST = refused(
  "the names would be all that is left of its files: restore a dump, or 'bigfsd meta restore' into a new folder",
);
const INODE_LOST = refused(
  "the name would be all that is left of the file: restore a dump, or 'bigfsd meta restore' into a new folder",
);
const SWEEP_UNCLEAR = refused("which of its bytes were cut is not known any more: copy the file and remove this one");
const NAME_LOST = refused(
  "nothing is removed because its name is lost: restore a dump, or 'bigfsd meta restore' into a new folder",
);

function* judge(one: Counted): Generator<Finding> {
  const { inode } = one;
  if (isDir(inode)) yield* judgeFolder(one);
  else yield* judgeNames(one);
  const { ino } = inode;
  yield* judgeOrphan(one);
  if (inode.stored !== one.stored)
    yield ofInode(
      "stored",
      ino,
      `its slots cover ${one.stored} bytes, and it counts ${inode.stored}`,
      counter(ino, "stored", { seen: inode.stored, counted: one.stored }),
    );
  if (inode.sweeping !== one.isSwept)
    yield ofInode(
      "sweep",
      ino,
      inode.sweeping ? "work on it is not noted" : "work on it is noted, and it does not say so",
      SWEEP_UNCLEAR,
    );
}

function* judgeFolder({ inode, names, entries, folders, cookies, ...one }: Counted): Generator<Finding> {
  const { ino, nlink, children, parent } = inode;
  const { elsewhere } = one;
  if (elsewhere !== undefined)
    yield ofInode(
      "parent",
      ino,
      `it stands in folder ${elsewhere.dir}, and says that it is in ${parent}`,
      names === 1
        ? byRule(`it says folder ${elsewhere.dir}`, (tx) => mendParent(tx, { ino, seen: parent }, elsewhere))
        : refused("it has several names, and which is right is not known: remove the others"),
    );
  if (children !== entries)
    yield ofInode(
      "children",
      ino,
      `it has ${entries} entries, and counts ${children}`,
      counter(ino, "children", { seen: children, counted: entries }),
    );
  if (cookies !== entries || one.entrySum !== one.cookieSum)
    yield ofInode("listing", ino, `its listing (${cookies} names) is not that of its entries (${entries})`, {
      mend: { plan: "each entry gets its place in the listing", how: { kind: "listing", dir: ino } },
    });
  if (nlink > 0 && nlink !== 2 + folders)
    yield ofInode(
      "links",
      ino,
      `it has ${folders} folders, and ${nlink} links instead of ${2 + folders}`,
      counter(ino, "nlink", { seen: nlink, counted: 2 + folders }),
    );
  const wanted = nlink === 0 || ino === ROOT_INO ? 0 : 1;
  if (names !== wanted) yield ofInode("names", ino, `${names} entries name this folder, not ${wanted}`, NAME_LOST);
}

function* judgeNames({ inode: { ino, nlink }, names }: Counted): Generator<Finding> {
  if (names === nlink) return;
  const remedy = names > 0 ? counter(ino, "nlink", { seen: nlink, counted: names }) : NAME_LOST;
  yield ofInode("names", ino, `${names} entries name it, and it counts ${nlink}`, remedy);
}

function* judgeOrphan({ inode: { ino, nlink }, names, isOrphan }: Counted): Generator<Finding> {
  if ((nlink === 0) === isOrphan) return;
  if (nlink > 0) {
    const remedy = byRule("it is taken off the list of those that go", (tx) => dropOrphan(tx, ino));
    yield ofInode("orphan", ino, "it has a name, and is to go", names > 0 ? remedy : NAME_LOST);
    return;
  }
  const gone: Remedy = {
    mend: { plan: "it is removed when nobody has it open", how: { kind: "orphan", rule: (tx) => mendOrphan(tx, ino) } },
  };
  const named = refused("entries name it: its links are counted first");
  yield ofInode("orphan", ino, "it has no name, and will never go", names === 0 ? gone : named);
}

function counter(ino: number, what: Counter, how: { readonly seen: number; readonly counted: number }): Remedy {
  return byRule(`it counts ${how.counted}`, (tx) => mendCounter(tx, { ino, counter: what }, how));
}
