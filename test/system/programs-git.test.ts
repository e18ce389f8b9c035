import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, needs, sh } from "../helpers/run.js";

const HISTORY = join(packageRoot, "test/helpers/git-history.py");

/** Works with a clone of $1 in this folder, the same each time, and prints what came of it. */
const WORK = `
  export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' GIT_CONFIG_GLOBAL=/dev/null
  export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
  files() { find . -name .git -prune -o -type f "$@" | LC_ALL=C sort -z; }
  content() { { files -printf '%m %p\\0'; files -print0 | xargs -0 sha256sum; } | sha256sum; }
  git clone -q --no-local "$1" repo && cd repo
  content
  for commit in v500 main~100 main; do git checkout -q $commit; git status --porcelain; content; done
  git checkout -q -b work v2500
  for n in 1 2 3 4 5 6; do
    for file in dir$n/*/*; do sed -i "$((n * 7))s/.*/changed $n/" "$file"; done
    git rm -q "$(git ls-files | sed -n $((n * 9))p)"; git mv dir$n/sub$n moved$n; git commit -qam "Work $n"
  done
  git rebase -q -X ours main >../rebase 2>&1 || while [ -d .git/rebase-merge ]; do
    git add -A; GIT_EDITOR=true git rebase --continue >>../rebase 2>&1 || true
  done
  git rev-parse HEAD; git status --porcelain; content
  git worktree add -q ../tree main~50 && (cd ../tree && git status --porcelain && content && git commit -q --allow-empty -m tree)
  echo stashed >> moved1/new; git add -A; git stash -q; git stash apply -q; git status --porcelain; git reset -q --hard
  git merge -q --no-edit -X ours origin/topic-2948 >../merge 2>&1 || { git add -A; git commit -q --no-edit; }
  git cherry-pick --keep-redundant-commits -X theirs main~7 >../pick 2>&1; git rev-parse HEAD; content
  git branch -D -q main; git repack -q -adf --window=5; git gc -q --prune=now
  git fsck --full --strict
  git worktree list --porcelain | grep HEAD
  git for-each-ref --format='%(objectname) %(refname)'; git rev-list --all --objects | sort | sha256sum; content`;

test("git clones, checks out, rebases, packs and checks a long history on a mount as on a local folder", async (t) => {
  await needs("git");
  const cluster = await TestCluster.start(t);
  const second = await cluster.mountAgain("second");
  const local = join(cluster.dir, "local");
  await sh(`mkdir ${local}; python3 ${HISTORY} 3000 300 > history`, { cwd: cluster.dir });
  // The same objects, though what gave them was a mount.
  const refs = async (folder: string) => {
    const imported = `git init -q --bare -b main h.git; git -C h.git fast-import --quiet --done < ${cluster.dir}/history`;
    await sh(imported, { cwd: folder });
    return sh("git fsck --full --strict; git for-each-ref; git rev-list --all --count", { cwd: join(folder, "h.git") });
  };
  const expected = await refs(local);
  t.match(expected, /refs\/heads\/topic-[^]*\n3000\n$/);
  t.equal(await refs(cluster.mnt), expected, "imported");

  const work = (folder: string) =>
    must("bash", ["-euo", "pipefail", "-c", WORK, "bash", join(folder, "h.git")], { cwd: folder });
  const [there, here] = await Promise.all([work(local), work(cluster.mnt)]);
  t.equal(here, there, "every commit and every file");
  const look = (folder: string) =>
    sh("git fsck --full --strict; git status --porcelain; git for-each-ref; git worktree list | wc -l", {
      cwd: join(folder, "repo"),
    });
  t.equal(await look(second), await look(local), "and another mount sees them");
  t.equal(await sh(`diff -r --no-dereference ${local}/repo ${second}/repo -x .git`), "");
  await cluster.staysSmall(t);
});
