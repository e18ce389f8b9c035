export interface NativeMountOptions {
  readonly allowOther: boolean;
  readonly readOnly: boolean;
}

/**
 * The options for libfuse, which fuse-native would put together with losses: what is "0" or unknown to it it drops.
 * Nothing tells the kernel to forget, so it keeps no names and attributes, and pages only while a file is open.
 */
export function libfuseOptions({ allowOther, readOnly }: NativeMountOptions): string {
  const options = [
    "fsname=bigfs",
    "subtype=bigfs",
    "default_permissions",
    // 128 KiB instead of 4.
    "big_writes",
    // Inode numbers of ours, or hard links would look like different files.
    "use_ino",
    "entry_timeout=0",
    "negative_timeout=0",
    "attr_timeout=0",
    ...(allowOther ? ["allow_other"] : []),
    ...(readOnly ? ["ro"] : []),
  ];
  return `-o${options.join(",")}`;
}
