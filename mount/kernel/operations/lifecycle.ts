import { notice, operation } from "./operation.js";

/** A signal for whoever asked. */
export const interrupt = notice({
  name: "interrupt",
  parse: (cursor) => ({ low: cursor.u32(), high: cursor.u32() }),
  run: (_fs, _head, unique, { interrupts }) => interrupts.interrupt(unique),
});

/** The kernel is done with this filesystem. */
export const destroy = operation({ name: "destroy", parse: () => undefined, run: () => undefined });
