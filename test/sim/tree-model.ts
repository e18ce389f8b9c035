/** What names there may be, and which files they lead to. */
import { FileModel } from "./files-model.js";
import { Moments, Register, fail, type Asked, type Change, type Report, type Seer } from "./model.js";

/** No such name. */
export const ABSENT = 0;

/** After so long without trouble the metadata daemon has on disk what a client told it. */
const QUIET_MS = 5_000;

interface Cut {
  /** The node. */
  readonly host: string;
  readonly ms: number;
}

export class Model {
  readonly moments: Moments;
  readonly files = new Map<number, FileModel>();
  readonly #made = new Set<number>();
  /** By folder and name. */
  readonly #names = new Map<string, Register>();
  /** By file: its extended attribute. */
  readonly #attributes = new Map<number, Register>();
  /** By client: all its changes that may still be lost with it. */
  readonly #fleeting = new Map<string, Set<Change>>();
  /** By client: since when nothing was in its way; Infinity while something is. */
  readonly #quietSinceMs = new Map<string, number>();
  /** When nodes may have lost copies: of what was not synced, or by rot. */
  readonly cuts: Cut[] = [];

  constructor(
    private readonly nowMs: () => number,
    readonly report: Report,
    private readonly minReplicas: number,
  ) {
    this.moments = new Moments(nowMs);
  }

  name(dir: number, name: string): Register {
    const key = `${dir} ${name}`;
    let register = this.#names.get(key);
    if (register === undefined) this.#names.set(key, (register = new Register(ABSENT)));
    return register;
  }

  attribute(ino: number): Register {
    let register = this.#attributes.get(ino);
    if (register === undefined) this.#attributes.set(ino, (register = new Register(ABSENT)));
    return register;
  }

  /** Folders in which a name was ever asked for. */
  get folders(): number[] {
    return [...new Set([...this.#names.keys()].map((key) => parseInt(key)))];
  }

  /** Names of that folder that were ever asked for. */
  namesIn(dir: number): string[] {
    const prefix = `${dir} `;
    return [...this.#names.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  }

  begin(who: Seer): Change {
    const change = this.moments.begin(who);
    let fleeting = this.#fleeting.get(who.client);
    if (fleeting === undefined) this.#fleeting.set(who.client, (fleeting = new Set()));
    fleeting.add(change);
    return change;
  }

  /** `data` (of a file) still has to be stored. */
  done(change: Change, { data = false } = {}): void {
    if (change.state !== "open") return;
    change.end = this.moments.next();
    change.state = data ? "told" : "stored";
    if (!data) {
      change.stored = change.end;
      change.storedMs = this.nowMs();
    }
  }

  /** A program was told that it has made this file; others may have seen it before. */
  made(ino: number, isLog: boolean): FileModel {
    if (this.#made.has(ino)) this.report(`inode ${ino} was given twice`);
    this.#made.add(ino);
    return this.found(ino, isLog);
  }

  /** The file of that number, which is there. */
  found(ino: number, isLog: boolean): FileModel {
    const file = this.files.get(ino) ?? new FileModel(ino, isLog);
    this.files.set(ino, file);
    return file;
  }

  seesName(dir: number, name: string, ino: number, asked: Asked & Seer): void {
    const register = this.name(dir, name);
    if (register.allows(ino, asked)) return register.seen(ino, asked);
    const what = ino === ABSENT ? "is not there" : `leads to ${ino}`;
    const when = `${asked.start}-${asked.end}`;
    this.report(`name ${name} in ${dir} ${what} at ${when} for ${asked.client}: ${String(register)}`);
  }

  seesAttribute(ino: number, value: number, asked: Asked & Seer): void {
    const register = this.attribute(ino);
    if (register.allows(value, asked)) return register.seen(value, asked);
    const when = `${asked.start}-${asked.end}`;
    this.report(`the attribute of file ${ino} is ${value} at ${when} for ${asked.client}: ${String(register)}`);
  }

  // What is lost, and what is not any more

  /** Something is in the way of this client from now on, or of the daemon. */
  troubled(client: string): void {
    this.#confirm(client);
    this.#quietSinceMs.set(client, Infinity);
  }

  quiet(client: string): void {
    this.#quietSinceMs.set(client, this.nowMs());
  }

  /** The client's process is gone: with it what it had not stored, and perhaps what the daemon had not on disk. */
  crashed(client: string): void {
    this.#confirm(client);
    for (const change of this.#fleeting.get(client) ?? []) fail(change);
    this.#fleeting.delete(client);
  }

  /** The client's session was given up, with the same effect; but it tells so at the next flush. */
  fenced(client: string): void {
    this.#confirm(client);
    for (const change of this.#fleeting.get(client) ?? []) {
      if (change.state === "told") change.state = "risk";
      else if (change.state !== "risk") fail(change);
    }
  }

  /** The client's session was given up, and it may not know: what it was told is as uncertain as if it did. */
  ended(client: string): void {
    this.#confirm(client);
    for (const change of this.#fleeting.get(client) ?? []) {
      if (change.state === "told") change.state = "risk";
      else if (change.state === "stored") fail(change);
    }
  }

  /** Everything that the client was told is on disk. */
  #confirm(client: string): void {
    const quietSince = this.#quietSinceMs.get(client) ?? 0;
    const fleeting = this.#fleeting.get(client);
    for (const change of fleeting ?? []) {
      const isOver = change.state === "maybe" || change.isDurable;
      const isSafe = change.state === "stored" && Math.max(change.storedMs, quietSince) + QUIET_MS <= this.nowMs();
      if (isOver || isSafe) fleeting?.delete(change);
    }
  }

  /** Enough copies were lost for chunks to have none left. */
  get hasLost(): boolean {
    return new Set(this.cuts.map(({ host }) => host)).size >= this.minReplicas;
  }

  /** Whether enough copies were lost since that was written, and it was not durable. */
  mayBeLost({ isDurable, startMs }: Change): boolean {
    const hosts = new Set(this.cuts.filter(({ ms }) => ms >= startMs).map(({ host }) => host));
    return !isDurable && hosts.size >= this.minReplicas;
  }
}
