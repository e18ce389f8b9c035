import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Layout, idOfName } from "../../../daemon/common/chunks/layout.js";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { readFile as readBytes, writeFile as writeBytes } from "../client/lab.js";
import { place } from "./place.js";

test("what nodes put aside is listed with the reason; a node that is away is named, and the exit code says so", async (t) => {
  const at = await place(t);
  const { lab, run } = at;
  t.match(await run(["quarantine", "ls"]), { code: 0, stdout: "nothing\n" });
  const client = await lab.client();
  const data = Buffer.alloc(200_000, "kept aside");
  await writeBytes(client, "f", data);
  const layouts = [0, 1, 2].map((n) => new Layout(join(lab.dir, `store${n}`)));
  const holders = await Promise.all(
    layouts.map(async (layout) => ((await filesOf(layout)).length > 0 ? [layout] : [])),
  );
  const [layout] = holders.flat();
  const [path = ""] = layout === undefined ? [] : await filesOf(layout);
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
  await writeFile(path, bytes);
  const n = layouts.indexOf(layout!);
  const nodeId = `${n + 1}`;
  await run(["node", "scrub", nodeId]);
  const list = async (...args: string[]) => {
    const { code, stdout } = await run(["quarantine", "ls", "--json", ...args]);
    return { code, nodes: SCHEMAS["quarantine ls"].parse(JSON.parse(stdout)) };
  };
  let listed = await list(nodeId);
  while (listed.nodes[0]?.files.length === 0) listed = await list(nodeId);
  const chunk = idOfName(path.slice(path.lastIndexOf("/") + 1));
  t.match(listed, {
    code: 0,
    nodes: [{ node: n + 1, folder: layout?.quarantine, files: [{ chunk, size: bytes.length, reason: /checksum/ }] }],
  });
  const [{ file, since = 0 } = { file: "" }] = listed.nodes[0]?.files ?? [];
  t.ok(Math.abs(since - Date.now() / 1000) < 600);
  t.ok((await readFile(join(layout?.quarantine ?? "", file))).equals(bytes), "where it says");
  const text = await run(["quarantine", "ls"]);
  t.match(text, { code: 0, stdout: new RegExp(`^\\S+ +${chunk} .* checksum`, "m") });
  t.match(text.stdout, `1 in ${layout?.quarantine}`);
  t.match(await run(["quarantine", "ls", "none"]), { code: 1, stderr: /there is no node 'none'/ });
  await lab.stores[n]?.stop();
  t.match(await run(["quarantine", "ls"]), { code: 1, stdout: "", stderr: /could not be asked: / });
  const away = await list();
  t.equal(away.code, 1);
  t.match(away.nodes[n], { node: n + 1, problem: /\S/, files: [] });
  t.ok((await readBytes(await client.again(), "f")).equals(data));
});

async function filesOf({ folders }: Layout): Promise<string[]> {
  const all = await Promise.all(
    folders.map(async (folder) => (await readdir(folder)).map((file) => join(folder, file))),
  );
  return all.flat();
}
