import { fail } from "../../proto/errno.js";

/** HOST:PORT, [V6]:PORT; EINVAL with what is wrong. */
export function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535) fail("EINVAL", `'${text}' is not an address: give HOST:PORT`);
  return { host, port };
}

/** [HOST:]PORT; without a host it is loopback. */
export function parseListen(text: string): { host: string; port: number } {
  return parseAddress(/^\d+$/.test(text) ? `127.0.0.1:${text}` : text);
}

/** HOST:PORT as parseAddress reads it. */
export function formatAddress({ host, port }: { host: string; port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
