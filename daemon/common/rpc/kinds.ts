import type { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { chunkReplyCodec, chunkRequestCodec, type ChunkMessage } from "../../../proto/chunk-codec.js";
import { AdminReply, AdminRequest, ClientFrame, ServerFrame } from "../../../proto/gen/bigfs/v1/meta.js";
import { NodeFrame, NodeReply } from "../../../proto/gen/bigfs/v1/node.js";
import type { ChunkReply, ChunkRequest } from "../../../proto/gen/bigfs/v1/store.js";
import type { Codec, StreamKind } from "./link.js";

interface Generated<T> {
  encode(message: T): BinaryWriter;
  decode(input: BinaryReader | Uint8Array, length?: number): T;
}

/** A generated message type as a codec. */
export function codecOf<T>(type: Generated<T>): Codec<T> {
  return {
    encode(message) {
      const bytes = type.encode(message).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    decode: (bytes) => type.decode(bytes),
  };
}

/** Every stream of the system, by the names of the services in proto/bigfs/v1. */
export const SESSION: StreamKind<ClientFrame, ServerFrame> = {
  path: "/bigfs.v1.Meta/Session",
  request: codecOf(ClientFrame),
  reply: codecOf(ServerFrame),
  packed: true,
};

export const ADMIN: StreamKind<AdminRequest, AdminReply> = {
  path: "/bigfs.v1.Meta/Admin",
  request: codecOf(AdminRequest),
  reply: codecOf(AdminReply),
  packed: true,
};

export const NODE: StreamKind<NodeFrame, NodeReply> = {
  path: "/bigfs.v1.Nodes/Node",
  request: codecOf(NodeFrame),
  reply: codecOf(NodeReply),
  packed: true,
};

export const CHUNKS: StreamKind<ChunkMessage<ChunkRequest>, ChunkMessage<ChunkReply>> = {
  path: "/bigfs.v1.Store/Chunks",
  request: chunkRequestCodec,
  reply: chunkReplyCodec,
};
