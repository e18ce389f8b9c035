import { mkdir } from "node:fs/promises";
import type { Test } from "tap";
import { must, run, sh } from "./run.js";

/** FS_IOC_SHUTDOWN without writing what is in memory, as when the power is cut. */
const CUT = `
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
if sys.argv[2] == "names":
    # Commits the journal: names are on disk then, and bytes that were not allocated are not.
    other = os.open(sys.argv[1] + "/other", os.O_CREAT | os.O_WRONLY)
    os.write(other, b"x")
    os.fsync(other)
fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))
`;

/** A small disk of its own, ext4 in a file, mounted at a folder; its power can be cut. Needs root; goes with the test. */
export class LoopDisk {
  private constructor(
    private readonly image: string,
    readonly folder: string,
  ) {}

  static async mount(t: Test, folder: string, sizeMiB: number): Promise<LoopDisk> {
    const image = `${folder}.img`;
    await mkdir(folder, { recursive: true });
    await sh(`truncate -s ${sizeMiB}M ${image} && mkfs.ext4 -q -m 0 ${image}`);
    const disk = new LoopDisk(image, folder);
    t.teardown(async () => void (await run("umount", ["-l", folder])));
    await disk.#mount();
    return disk;
  }

  /** From now on every call fails, and what was not fsynced is lost. `names`: but not the names of files. */
  async cutPower(how: "all" | "names" = "all"): Promise<void> {
    await must("python3", ["-c", CUT, this.folder, how]);
  }

  /** The machine starts again; nobody may use the folder. */
  async powerOn(): Promise<void> {
    while ((await run("umount", [this.folder])).code !== 0);
    await this.#mount();
  }

  /** Puts a file there that leaves so many MiB; 0: not a byte. */
  async fill(leaveMiB: number): Promise<void> {
    const other = `${this.folder}/other`;
    if (leaveMiB === 0) return void (await run("dd", ["if=/dev/zero", `of=${other}`, "bs=4k"]));
    const line = `free=$(df -BK --output=avail ${this.folder} | tail -n 1 | tr -dc 0-9)
      fallocate -l $((free - ${leaveMiB} * 1024))K ${other}`;
    await sh(line);
  }

  async #mount(): Promise<void> {
    await must("mount", ["-o", "loop", this.image, this.folder]);
  }
}
