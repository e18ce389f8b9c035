import fc from "fast-check";
import { test } from "tap";
import { Opens } from "../../../../daemon/meta/opens.js";

const SESSION = fc.constantFrom(1, 2, 3);
const INO = fc.constantFrom(10, 11);
const COUNT = fc.integer({ min: 1, max: 3 });
const DECLARED = fc.array(fc.record({ ino: INO, count: fc.nat(3) }), { maxLength: 3 });

test("what is open, by whom and until when, is as a list of single opens says", async (t) => {
  const step = fc.oneof(
    fc.tuple(fc.constant("open"), SESSION, INO, COUNT),
    fc.tuple(fc.constant("close"), SESSION, INO, COUNT),
    fc.tuple(fc.constant("replace"), SESSION, DECLARED),
    fc.tuple(fc.constant("drop"), SESSION),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
      const opens = new Opens();
      let naive: { session: number; ino: number }[] = [];
      const isOpen = (ino: number) => naive.some((open) => open.ino === ino);
      const add = (session: number, ino: number, count: number) => {
        for (let i = 0; i < count; i++) naive.push({ session, ino });
      };
      for (const [what, session, arg, count] of steps) {
        const before = [10, 11].filter(isOpen);
        let told: number[] = [];
        if (what === "open") {
          opens.open(session, arg, count);
          add(session, arg, count ?? 0);
        } else if (what === "close") {
          const last = opens.close(session, arg, count);
          for (let i = 0; i < (count ?? 0); i++) {
            const at = naive.findIndex((open) => open.session === session && open.ino === arg);
            if (at >= 0) naive.splice(at, 1);
          }
          told = last ? [arg] : [];
        } else {
          const declared = what === "drop" ? [] : (arg as { ino: number; count: number }[]);
          told = what === "drop" ? opens.drop(session) : opens.replace(session, declared);
          naive = naive.filter((open) => open.session !== session);
          for (const { ino, count: n } of declared) add(session, ino, n);
        }
        const released = before.filter((ino) => !isOpen(ino));
        if (JSON.stringify([...told].sort()) !== JSON.stringify(released)) return false;
        if ([10, 11].some((ino) => opens.isOpen(ino) !== isOpen(ino))) return false;
      }
      return true;
    }),
    { numRuns: 1000 },
  );
  t.pass("held");
});
