import { test } from "tap";
import { Lease } from "../../../../mount/clients/lease.js";
import { FakeClock } from "../../../helpers/fake-clock.js";
import { connected, mkdir, turns } from "./scripted-meta.js";

test("a lease counts from the sending of the latest message that was echoed", async (t) => {
  const clock = new FakeClock();
  const lease = new Lease(clock);
  t.equal(lease.leftMs(), 0, "none yet");
  lease.begin(10_000, false);
  t.equal(lease.leftMs(), 0, "nothing echoed yet");
  const first = lease.stamp();
  await clock.advance(4_000);
  const second = lease.stamp();
  await clock.advance(1_000);
  lease.echoed(first);
  t.equal(lease.leftMs(), 5_000);
  lease.echoed(second);
  t.equal(lease.leftMs(), 9_000);
  lease.echoed(first);
  t.equal(lease.leftMs(), 9_000, "an old echo takes nothing away");
  await clock.advance(9_000);
  t.equal(lease.leftMs(), 0);
  lease.echoed(second);
  t.equal(lease.leftMs(), 0, "an echo that is read late gives nothing");
});

test("an echo from the future (another counting) gives nothing; another session begins without a lease", async (t) => {
  const clock = new FakeClock();
  const lease = new Lease(clock);
  lease.begin(10_000, false);
  lease.echoed(clock.monotonicMs() + 1);
  t.equal(lease.leftMs(), 0);
  lease.echoed(lease.stamp());
  t.equal(lease.leftMs(), 10_000);
  lease.begin(10_000, true);
  t.equal(lease.leftMs(), 10_000, "the same session over another stream");
  lease.begin(10_000, false);
  t.equal(lease.leftMs(), 0);
});

test("an idle client renews; a loop that stood still has no lease until an answer to something sent after it", async (t) => {
  const clock = new FakeClock();
  const { meta, client } = await connected(t, { clock });
  t.equal(client.leaseLeftMs(), 10_000);
  await clock.advance(3_000);
  t.equal(client.leaseLeftMs(), 7_000);
  const [renew] = await meta.some("renew");
  meta.send({ id: renew?.id ?? 0, op: { $case: "renew", value: {} } });
  while (client.leaseLeftMs() < 10_000) await turns(1);
  // Answered while the loop stood still, and read afterwards: counted from its sending.
  clock.stall(11_000);
  t.equal(client.leaseLeftMs(), 0);
  meta.send({});
  await turns();
  t.equal(client.leaseLeftMs(), 0);
  const asked = mkdir(client, "a");
  meta.done((await meta.some("make"))[0], 1, 0);
  await asked;
  t.equal(client.leaseLeftMs(), 10_000);
});
