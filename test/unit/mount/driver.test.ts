import { test } from "tap";
import { StartupError } from "../../../daemon/common/running.js";
import { chooseDriver } from "../../../mount/driver.js";

const works = () => undefined;
const fails = () => {
  throw new StartupError("not built", { hint: "build it" });
};

test("without a wish it is the own driver, and fuse-native with a warning where that cannot be loaded", (t) => {
  t.same(chooseDriver(undefined, { own: works, "fuse-native": fails }), { driver: "own", warning: undefined });
  t.match(chooseDriver(undefined, { own: fails, "fuse-native": works }), {
    driver: "fuse-native",
    warning: /not built.*build it/,
  });
  t.throws(() => chooseDriver(undefined, { own: fails, "fuse-native": fails }), /not built/);
  t.end();
});

test("a wish is followed or refused", (t) => {
  t.equal(chooseDriver("fuse-native", { own: works, "fuse-native": works }).driver, "fuse-native");
  t.throws(() => chooseDriver("fuse-native", { own: works, "fuse-native": fails }), StartupError);
  t.throws(() => chooseDriver("own", { own: fails, "fuse-native": works }), StartupError);
  t.end();
});
