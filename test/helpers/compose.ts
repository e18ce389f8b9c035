import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { z } from "zod";

const bind = z.strictObject({
  type: z.literal("bind"),
  source: z.string(),
  target: z.string(),
  bind: z.strictObject({ propagation: z.enum(["rshared"]) }),
});

const service = z.strictObject({
  image: z.string(),
  build: z.strictObject({ context: z.string(), dockerfile: z.string() }),
  init: z.boolean(),
  restart: z.enum(["no", "unless-stopped"]),
  stop_grace_period: z.string(),
  environment: z.record(z.string(), z.string()),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.literal("service_completed_successfully") })),
  hostname: z.string().optional(),
  user: z.string().optional(),
  devices: z.array(z.string()).optional(),
  cap_add: z.array(z.string()).optional(),
  security_opt: z.array(z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()),
  volumes: z.array(z.union([z.string().regex(/^\w+:\/[\w/]+(:ro)?$/), bind])),
});

/** What compose.yaml may say: of the Compose Specification only what is used, so that a slip is found. */
const composeFile = z.strictObject({
  name: z.string(),
  "x-daemon": z.unknown(),
  services: z.record(z.string(), service),
  volumes: z.record(z.string(), z.null()),
});

export type Service = z.infer<typeof service>;

export async function readCompose(file: string): Promise<z.infer<typeof composeFile>> {
  return composeFile.parse(parse(await readFile(file, "utf8"), { merge: true }));
}

/** What of this machine, or which named volume, is where in the container. */
export function volumesOf(service: Service): { source: string; target: string }[] {
  return service.volumes.map((volume) => {
    if (typeof volume !== "string") return volume;
    const [source = "", target = ""] = volume.split(":");
    return { source, target };
  });
}
