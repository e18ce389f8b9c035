import { SocketAddress, isIPv6 } from "node:net";
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

/** Whether this host of an address is every address of a machine: to listen on, not to call. */
export function isEverywhere(host: string): boolean {
  return ["0.0.0.0", "::"].includes(canonical(host));
}

/** Whether this host of an address is always the machine that says it. */
export function isLoopback(host: string): boolean {
  const text = canonical(host).toLowerCase();
  return text === "localhost" || text === "::1" || /^127\.[\d.]+$/.test(text);
}

/** IPv6 addresses have many spellings. */
function canonical(host: string): string {
  return isIPv6(host) ? new SocketAddress({ address: host, family: "ipv6" }).address : host;
}
