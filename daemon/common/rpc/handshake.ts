import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { FsError } from "../../../proto/errno.js";
import { Challenge, Hello, Proof, Welcome } from "../../../proto/gen/bigfs/v1/handshake.js";
import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Peer } from "./link.js";

/** Protocol versions that this build speaks. */
export const PROTOCOL = { min: 1, max: 1 } as const;

const NONCE_BYTES = 32;
/** Longest message of a handshake; everything before the proof comes from a stranger. */
const MESSAGE_MAX = 4096;

/** The first messages of a stream, one at a time. */
export interface Conversation {
  say(message: Uint8Array): void;
  /** Rejects when the stream ends or time is up. */
  hear(): Promise<Buffer>;
  /** HOST:PORT of the other end. */
  readonly address: string;
}

interface Nonces {
  readonly client: Buffer;
  readonly server: Buffer;
}

/** The label keeps one side's proof from being played back as the other's, the nonces from being used again. */
function proofOf(key: Buffer, side: "client" | "server", { client, server }: Nonces): Buffer {
  return createHmac("sha256", key).update(`bigfs ${side}`).update(client).update(server).digest();
}

function proves(proof: Buffer, expected: Buffer): boolean {
  return proof.length === expected.length && timingSafeEqual(proof, expected);
}

/** The caller's side. FsError: EACCES another key, EPROTO another protocol or volume. */
export async function greet(
  talk: Conversation,
  self: { readonly key: Buffer; readonly role: string; readonly volume?: string },
): Promise<Peer> {
  const { address } = talk;
  const { key, role, volume: expected = "" } = self;
  const nonce = randomBytes(NONCE_BYTES);
  talk.say(Hello.encode({ protocolMin: PROTOCOL.min, protocolMax: PROTOCOL.max, role, nonce }).finish());

  const challenge = parse(Challenge, await talk.hear(), address);
  const { protocol } = challenge;
  if (protocol < PROTOCOL.min || protocol > PROTOCOL.max) throw otherProtocol(address, protocol, protocol);
  const nonces = { client: nonce, server: checkedNonce(challenge.nonce, address) };
  talk.say(Proof.encode({ proof: proofOf(key, "client", nonces), volume: expected }).finish());

  const { proof, volume, incarnation, clockMs } = parse(Welcome, await talk.hear(), address);
  if (!proves(proof, proofOf(key, "server", nonces))) {
    throw new FsError(
      "EACCES",
      `${address} has another cluster key: give the key file of that cluster with --key FILE`,
    );
  }
  if (isOther(expected, volume)) throw new FsError("EPROTO", `${address} serves volume ${volume}, not ${expected}`);
  return { role: "daemon", volume, incarnation, protocol, address, clockMs };
}

/** The server's side; same errors. Tells nothing about itself before the caller has proved the key. */
export async function welcome(
  talk: Conversation,
  self: {
    readonly key: Buffer;
    readonly volume: () => { uuid: string; incarnation: number };
    readonly now: () => Time;
  },
): Promise<Peer> {
  const { address } = talk;
  const hello = parse(Hello, await talk.hear(), address);
  const protocol = Math.min(PROTOCOL.max, hello.protocolMax);
  if (protocol < PROTOCOL.min || protocol < hello.protocolMin) {
    throw otherProtocol(address, hello.protocolMin, hello.protocolMax);
  }
  const nonces = { client: checkedNonce(hello.nonce, address), server: randomBytes(NONCE_BYTES) };
  talk.say(Challenge.encode({ protocol, nonce: nonces.server }).finish());

  const answer = parse(Proof, await talk.hear(), address);
  if (!proves(answer.proof, proofOf(self.key, "client", nonces))) {
    throw new FsError("EACCES", "this cluster has another key: give its key file with --key FILE");
  }
  const { uuid, incarnation } = self.volume();
  if (isOther(answer.volume, uuid)) {
    throw new FsError("EPROTO", `volume ${uuid} is served here, not ${answer.volume}`);
  }
  const now = self.now();
  const clockMs = now.sec * 1000 + Math.floor(now.nsec / 1e6);
  const proof = proofOf(self.key, "server", nonces);
  talk.say(Welcome.encode({ proof, volume: uuid, incarnation, clockMs }).finish());
  return { role: hello.role, volume: answer.volume, incarnation, protocol, address, clockMs: undefined };
}

/** Empty: any volume will do, or there is none yet. */
function isOther(expected: string, volume: string): boolean {
  return expected !== "" && volume !== "" && expected !== volume;
}

function parse<T>(fns: { decode(bytes: Buffer): T }, bytes: Buffer, address: string): T {
  if (bytes.length > MESSAGE_MAX) {
    throw new FsError("EPROTO", `${address} does not speak BigFS: ${bytes.length} bytes of greeting`);
  }
  try {
    return fns.decode(bytes);
  } catch (error) {
    throw new FsError("EPROTO", `${address} does not speak BigFS`, { cause: error });
  }
}

function checkedNonce(nonce: Buffer, address: string): Buffer {
  if (nonce.length === NONCE_BYTES) return nonce;
  throw new FsError("EPROTO", `${address} does not speak BigFS: a nonce of ${nonce.length} bytes`);
}

function otherProtocol(address: string, min: number, max: number): FsError {
  const theirs = min === max ? `${min}` : `${min} to ${max}`;
  const ours = `${PROTOCOL.min} to ${PROTOCOL.max}`;
  return new FsError("EPROTO", `${address} speaks protocol ${theirs}, this build ${ours}: install matching versions`);
}
