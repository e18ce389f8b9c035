import { notice, operation } from "./operation.js";

/**
 * A signal waits for whoever asked. Nothing is broken off for it: what was begun is finished and answered, so that a
 * signal does not make a healthy close an EIO.
 */
export const interrupt = notice({ name: "interrupt", parse: () => undefined, run: () => undefined });

/** The kernel is done with this filesystem. */
export const destroy = operation({ name: "destroy", parse: () => undefined, run: () => undefined });
