import { test } from "tap";
import { type AdminRequest, SetVolume } from "../../../proto/gen/bigfs/v1/meta.js";
import { MetaHarness } from "../../helpers/meta-harness.js";

test("a session that an administrator ends is told so, and its client begins another", async (t) => {
  const harness = await MetaHarness.start(t);
  const [one, two] = [await harness.client(), await harness.client()];
  const { sessions } = await harness.status();
  t.match(sessions, [
    { id: one.session, connected: true, readOnly: false, address: /^127\.0\.0\.1:\d+$/ },
    { id: two.session, connected: true },
  ]);
  const reply = await harness.admin({ $case: "endSession", value: { session: one.session } });
  t.match(reply, { errno: "", op: { $case: "endSession" } });
  t.match(String(await one.until(() => one.closedBy)), /an administrator ended it/);
  t.match((await harness.status()).sessions, [{ id: two.session }]);
  t.match(await harness.admin({ $case: "endSession", value: { session: one.session } }), {
    errno: "ENOENT",
    detail: `there is no session ${one.session}`,
  });
});

test("the number of copies may change, and every client hears of it", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  const set = (value: Partial<SetVolume>) => harness.admin({ $case: "setVolume", value: SetVolume.fromPartial(value) });
  t.match(await set({ replicas: 3, minReplicas: 1 }), { errno: "" });
  const told = await client.until(() => client.frames.find(({ op }) => op?.$case === "copies"));
  t.match(told, { id: 0, op: { value: { replicas: 3, minReplicas: 1 } } });
  t.match(await harness.status(), { replicas: 3, minReplicas: 1 });
  for (const wrong of [{ replicas: 17 }, { minReplicas: 0 }, { minReplicas: 4 }, { replicas: 0 }])
    t.match(await set(wrong), { errno: "EINVAL", detail: /copies/ }, JSON.stringify(wrong));
  await harness.stop();
  await harness.start();
  t.match(await harness.status(), { replicas: 3, minReplicas: 1 }, "it is on disk");
});

test("what an administrator asks wrongly is refused in words", async (t) => {
  const harness = await MetaHarness.start(t);
  const cases: [NonNullable<AdminRequest["op"]>, string][] = [
    [{ $case: "explain", value: { ino: 99, first: 0 } }, "ESTALE"],
    [{ $case: "setNode", value: { node: 9, name: "x", zone: undefined } }, "ENOENT"],
  ];
  for (const [op, errno] of cases) t.match(await harness.admin(op), { errno }, op.$case);
});
