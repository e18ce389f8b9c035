import { parseLock, writeLock } from "../codec/locks.js";
import { operation } from "./operation.js";

export const getlk = operation({
  name: "getlk",
  parse: parseLock,
  run: (fs, _head, { handle, lock }) => fs.getLock(handle, lock),
  reply(out, found) {
    writeLock(out, found);
    return undefined;
  },
});

export const setlk = operation({
  name: "setlk",
  parse: parseLock,
  run: (fs, _head, { handle, lock }) => fs.setLock(handle, lock),
});

/** Waits until it has the lock; a signal ends that. */
export const setlkw = operation({
  name: "setlkw",
  parse: parseLock,
  run: (fs, head, { handle, lock }, { interrupts }) =>
    interrupts.during(head.unique, (wait) => fs.setLock(handle, lock, wait)),
});
