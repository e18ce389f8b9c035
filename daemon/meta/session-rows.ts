import type { SessionRow, Time } from "../../proto/gen/bigfs/v1/rows.js";
import { key } from "./keys.js";
import { volumeOf } from "./rules/volume.js";
import type { Tx } from "./tx.js";

/** Gives the next session id; it may be told when this is durable. */
export function beginSession(tx: Tx, made: { name: string; readOnly: boolean; now: Time }): SessionRow {
  const volume = volumeOf(tx);
  const { name, readOnly, now } = made;
  const id = volume.nextSession;
  const row = { id, name, started: now, readOnly, ended: false, endedServedSec: 0 };
  tx.put(key.volume, { ...volume, nextSession: id + 1 });
  tx.put(key.session(id), row);
  return row;
}

/** Records that the session is over; what it left is cleaned up by age from here on. */
export function endSession(tx: Tx, id: number): void {
  const row = tx.get(key.session(id));
  if (row === undefined || row.ended) return;
  tx.put(key.session(id), { ...row, ended: true, endedServedSec: volumeOf(tx).servedSec });
}
