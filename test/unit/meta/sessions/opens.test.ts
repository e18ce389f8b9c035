import fc from "fast-check";
import { test } from "tap";
import { type HandleCount, Opens } from "../../../../daemon/meta/opens.js";

const SESSION = fc.constantFrom(1, 2, 3);
const INO = fc.constantFrom(10, 11);
const WRITES = fc.array(fc.boolean(), { minLength: 1, maxLength: 3 });
const DECLARED = fc.array(fc.record({ ino: INO, writes: fc.array(fc.boolean(), { maxLength: 3 }) }), { maxLength: 3 });

interface One {
  readonly session: number;
  readonly ino: number;
  readonly writes: boolean;
}

function countOf(writes: readonly boolean[]): HandleCount {
  return { count: writes.length, writers: writes.filter(Boolean).length };
}

test("what is open and shared, by whom and until when, is as a list of single opens says", async (t) => {
  const step = fc.oneof(
    fc.record({ what: fc.constantFrom("open", "close"), session: SESSION, ino: INO, writes: WRITES }),
    fc.record({ what: fc.constant("replace"), session: SESSION, declared: DECLARED }),
    fc.record({ what: fc.constant("drop"), session: SESSION }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
      const heard = new Set<number>();
      const opens = new Opens({
        shared: (ino, by) => void heard.add(opens.isOpenBy(by, ino) ? ino : NaN),
        unshared: (ino) => void heard.delete(ino),
      });
      let naive: One[] = [];
      const isOpen = (ino: number) => naive.some((open) => open.ino === ino);
      const isShared = (ino: number) => {
        const open = naive.filter((one) => one.ino === ino);
        return new Set(open.map(({ session }) => session)).size > 1 && open.some(({ writes }) => writes);
      };
      for (const doing of steps) {
        const before = [10, 11].filter(isOpen);
        const { session } = doing;
        let told: number[] = [];
        if ("ino" in doing && doing.what === "open") {
          opens.open(session, doing.ino, countOf(doing.writes));
          for (const writes of doing.writes) naive.push({ session, ino: doing.ino, writes });
        } else if ("ino" in doing) {
          const { ino } = doing;
          const closed = doing.writes.flatMap((writes) => {
            const at = naive.findIndex((one) => one.session === session && one.ino === ino && one.writes === writes);
            return at < 0 ? [] : naive.splice(at, 1);
          });
          if (opens.close(session, ino, countOf(closed.map(({ writes }) => writes)))) told = [ino];
        } else {
          const declared = "declared" in doing ? doing.declared : [];
          const files = declared.map(({ ino, writes }) => ({ ino, ...countOf(writes) }));
          told = doing.what === "drop" ? opens.drop(session) : opens.replace(session, files);
          naive = naive.filter((open) => open.session !== session);
          for (const { ino, writes } of declared) for (const one of writes) naive.push({ session, ino, writes: one });
        }
        const released = before.filter((ino) => !isOpen(ino));
        if (JSON.stringify([...told].sort()) !== JSON.stringify(released)) return false;
        if ([10, 11].some((ino) => opens.isOpen(ino) !== isOpen(ino))) return false;
        if ([10, 11].some((ino) => opens.isShared(ino) !== isShared(ino) || heard.has(ino) !== isShared(ino)))
          return false;
        const sessions = (ino: number) => [
          ...new Set(naive.filter((one) => one.ino === ino).map((one) => one.session)),
        ];
        if ([10, 11].some((ino) => String(opens.sessionsOf(ino).sort()) !== String(sessions(ino).sort()))) return false;
      }
      return true;
    }),
    { numRuns: 1000 },
  );
  t.pass("held");
});
