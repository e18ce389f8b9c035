import { spawn } from "node:child_process";
import { once } from "node:events";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type Test } from "tap";
import { BIN, type Place, place } from "./place.js";

/** A command on a terminal of 30 columns: what it shows, and a way to type. */
function onTerminal(t: Test, { args }: Place, command: readonly string[], env: Record<string, string> = {}) {
  const line = [process.execPath, BIN, ...command, ...args].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qec", `stty cols 30; exec ${line}`, "/dev/null"], {
    env: { ...process.env, TERM: "xterm", ...env },
  });
  t.teardown(() => child.kill("SIGKILL"));
  const ended = once(child, "exit");
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const until = async (what: string): Promise<void> => {
    while (!output.includes(what)) await once(child.stdout, "data");
    output = output.slice(output.indexOf(what) + what.length);
  };
  const end = async () => {
    const found = await ended;
    return { code: found[0] as number, output };
  };
  return { until, end, type: (text: string) => child.stdin.write(text) };
}

test("the line of progress fits the terminal, and is none where it cannot be written over", async (t) => {
  const at = await place(t);
  const local = join(at.dir, "large");
  await writeFile(local, "");
  await truncate(local, 400 * 1024 * 1024);
  const { code, output } = await onTerminal(t, at, ["put", local, "/"]).end();
  t.equal(code, 0);
  const [, ...shown] = output.split("\r\u001b[K");
  t.match(shown.pop(), /^1 file, 400 MiB, .*\/s\r\n$/);
  t.match(shown[0], /^\[#*\.*\] \d+ %/);
  for (const line of shown) t.ok(line.length < 30, line);
  const plain = await onTerminal(t, at, ["put", local, "/"], { TERM: "dumb" }).end();
  t.match(plain, { code: 0, output: /^1 file, [^\u001b]*\r\n$/ });
});

test("what is shown without a line end stays when an error follows", async (t) => {
  const at = await place(t);
  const local = join(at.dir, "f");
  await writeFile(local, "no end");
  t.equal((await onTerminal(t, at, ["put", local, "/"]).end()).code, 0);
  t.match(await onTerminal(t, at, ["cat", "/f", "/none"]).end(), {
    code: 1,
    output: "no endbigfsd: /none does not exist (ENOENT)\r\n",
  });
});

test("Ctrl-C drops the whole line that was typed, Ctrl-D ends the prompt and its line", async (t) => {
  const at = await place(t);
  const { until, type, end } = onTerminal(t, at, ["shell"]);
  const prompt = "bigfs:/> ";
  await until(prompt);
  type("mkdir /wrong\u001b[D\u001b[D\u0003");
  await until(prompt);
  type("mkdir /right\r");
  await until(prompt);
  type("ls\r");
  await until("\r\nright\r\n");
  type("\u0004");
  t.match(await end(), { code: 0, output: /bigfs:\/> [^ ]*\r\n$/ });
});
