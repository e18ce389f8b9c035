import { systemClock } from "../../common/clock.js";
import { clearStatus, hasStatusLine, showStatus } from "../status-line.js";
import type { Progress } from "./run.js";

/** How often a terminal is told. */
const SHOWN_MS = 200;

/** Tells on standard error how far it is: on a terminal a line that is written over, otherwise a line for each step. */
export function showProgress(): Progress & { say(what: string): void; end(): void } {
  let cancel = () => {};
  const say = (what: string): void => {
    cancel();
    showStatus(what);
  };
  return {
    say,
    begin(what, step, steps, share) {
      const line = step === 0 ? what : `${step}/${steps} ${what}`;
      if (!hasStatusLine()) return say(line);
      const show = (): void => {
        say(`${line} ${Math.floor(100 * Math.min(1, share()))} %`);
        cancel = systemClock.after(SHOWN_MS, show);
      };
      show();
    },
    end() {
      cancel();
      clearStatus();
    },
  };
}
