import { setFlagsFromString } from "node:v8";

/**
 * How much the heap may grow between full collections, in per cent of what was alive. Chunks are buffers outside of V8's
 * heap, but what was allocated of them since the last full collection counts against the limit that starts the next one.
 * With V8's own growth that limit stays near 20 MiB in a small process, and one that passes on 1 MiB messages collects
 * its whole heap every dozen of them: a quarter of its CPU.
 */
const HEAP_GROWING_PERCENT = 300;

/**
 * Bytes of bytecode that a function runs before V8 compiles it better; its default is 67,584. A small request passes
 * through hundreds of functions once each, so that a process needs thousands of them to get fast. Measured (800 mkdirs
 * and rmdirs right after a start, CPU of the main threads of the metadata daemon and the mount, two runs each): 1.7 and
 * 1.8 s with the default, 1.3 and 1.4 s with this; the second 800: 1.5 and 2.0 s against 1.2 and 1.6 s. In storage
 * daemons it does not pay: 384 MiB written right after a start took all processes 9.6 to 10.2 s of CPU when these
 * compiled early too, 7.6 and 9.7 s when they did not.
 */
const INTERRUPT_BUDGET = 10_000;

/** For every process that handles chunks. */
export function collectForBigMessages(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
}

/** For processes that handle many small requests. */
export function compileEarly(): void {
  setFlagsFromString(`--interrupt-budget=${INTERRUPT_BUDGET}`);
}
