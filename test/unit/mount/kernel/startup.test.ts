import { test } from "tap";
import { loadFrom, type Addon } from "../../../../mount/kernel/addon.js";
import { openMount } from "../../../../mount/kernel/open-mount.js";
import { StartupError } from "../../../../daemon/common/running.js";

const WISH = { folder: "/mnt", rootMode: 0o40755, allowOther: false, readOnly: false, privileged: true };
/** The system calls that mounting directly makes; any other would be a TypeError. */
function addonThat(results: { open: number; mount?: number }): { addon: Addon; closed: number[] } {
  const closed: number[] = [];
  const calls = {
    open: () => results.open,
    mount: () => results.mount ?? 0,
    close: (fd: number) => closed.push(fd),
  };
  return { addon: calls as unknown as Addon, closed };
}

const refusal = (addon: Addon) =>
  openMount(addon, WISH).then(
    () => new StartupError("mounted", { hint: "" }),
    (error: unknown) => error as StartupError,
  );

test("an addon that is not built is a StartupError with the command that builds it", (t) => {
  try {
    loadFrom("/nowhere");
    t.fail("it was loaded");
  } catch (error) {
    t.ok(error instanceof StartupError);
    t.match((error as StartupError).hint, "/nowhere/scripts/build");
  }
  t.end();
});

test("no /dev/fuse, or one that is not allowed, is told with the way out", async (t) => {
  const absent = await refusal(addonThat({ open: -2 }).addon);
  t.match(absent.message, /there is no \/dev\/fuse/);
  t.match(absent.hint, /modprobe fuse.*--device \/dev\/fuse/);
  const forbidden = await refusal(addonThat({ open: -13 }).addon);
  t.match(forbidden.message, /not allowed to open \/dev\/fuse/);
  t.match(forbidden.hint, /chmod 0666/);
});

test("a mount that is not allowed is told, and the device is closed again", async (t) => {
  const { addon, closed } = addonThat({ open: 9, mount: -1 });
  const error = await refusal(addon);
  t.match(error.message, /not allowed to mount at \/mnt/);
  t.match(error.hint, /SYS_ADMIN/);
  t.same(closed, [9]);
});
