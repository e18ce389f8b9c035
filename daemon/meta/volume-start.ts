import type { VolumeRow } from "../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../common/clock.js";
import { systemRandom, type Random } from "../common/random.js";
import { StartupError } from "../common/running.js";
import type { Executor } from "./executor.js";
import { key } from "./keys.js";
import type { MetaOptions } from "./options.js";
import { FORMAT_VERSION, type Settings, createVolume } from "./rules/volume.js";

/** The volume as all parts of the daemon see it; an administrator may change its settings. */
export type LiveVolume = Readonly<Omit<VolumeRow, keyof Settings>> & { -readonly [K in keyof Settings]: Settings[K] };

/** The volume in the store; makes one when there is none. Durable when it resolves. */
export async function openVolume(
  parts: { readonly executor: Executor; readonly clock: Clock; readonly random?: Random },
  create: MetaOptions["create"],
): Promise<{ readonly volume: LiveVolume; readonly isNew: boolean }> {
  const { executor, clock, random = systemRandom } = parts;
  const made = { ...create, uuid: random.uuid(), now: clock.now(), uid: process.getuid?.() ?? 0 };
  const { value, batch } = await executor.execute(0, (tx) => {
    const volume = tx.get(key.volume);
    if (volume !== undefined) return { volume, isNew: false };
    return { volume: createVolume(tx, { ...made, gid: process.getgid?.() ?? 0 }), isNew: true };
  });
  await executor.whenDurable(batch);
  if (value.volume.formatVersion > FORMAT_VERSION) {
    throw new StartupError(
      `the volume has format ${value.volume.formatVersion}, this build knows formats up to ${FORMAT_VERSION}`,
      { hint: "start it with the newer BigFS that wrote it" },
    );
  }
  return { ...value, volume: { ...value.volume } };
}
