/** Every size limit of the system, in one place; checked against each other below. */
export const LIMITS = {
  /** Bytes of a chunk; also the span of a slot. A chunk travels as one message. */
  chunkSizeMin: 64 * 1024,
  chunkSizeMax: 4 * 1024 * 1024,
  chunkSizeDefault: 1024 * 1024,
  /** Bytes of data that one slice may carry in the metadata. */
  inlineMax: 4096,
  /** Bytes of inline data in one slot; more is refused with EFBIG and must become a chunk. */
  inlinePerSlotMax: 64 * 1024,
  /** A slot with so many slices is compacted, when half of them would go. */
  crowdedSlices: 64,
  /** Copies of a chunk. */
  replicasMax: 16,
  /** Bytes of one gRPC message. */
  messageMax: 8 * 1024 * 1024,
  /** Rows that one operation may change. */
  rowsPerOperation: 4096,
  /** Slices in one Commit. */
  slicesPerCommit: 256,
  /** Slots in one answer. */
  slotsPerReply: 64,
  /** Entries in one page of a listing. */
  entriesPerPage: 1024,
  /** Bytes of a symbolic link's target. */
  targetMax: 4095,
  /** Bytes of one xattr value, and of all xattrs of an inode together. */
  xattrValueMax: 65536,
  xattrsMax: 131072,
  /** Entries of an access control list; they are in the row of the inode. */
  aclEntriesMax: 256,
  /** Locks on one file, of all mounts. */
  locksPerFile: 10_000,
  /** Hard links to one inode, as ext4 has it. */
  linkMax: 65000,
  /** Bytes of a file: offsets stay exact numbers. */
  fileSizeMax: 2 ** 52,
  /** Clocks of a mount and of the metadata daemon that differ by so little count as one; it is what a greeting may take. */
  clockSlackMs: 100,
} as const;

if (LIMITS.messageMax < LIMITS.chunkSizeMax + 65536) throw new Error("a chunk must fit a message");
if (LIMITS.inlineMax > LIMITS.inlinePerSlotMax) throw new Error("an inline slice must fit a slot");
