/**
 * The requests of this kernel that are not answered yet, by the folder whose lock their askers may hold. Requests that
 * were answered within their call never come here: nobody can have waited for them.
 */
export class PendingRequests {
  /** Grows when the kernel was told of a new epoch: answers begun before may hold names that were dropped since. */
  epoch = 0;
  readonly #byNode = new Map<number, number>();
  readonly #linking = new Map<number, number>();
  readonly #watchers = new Map<number, Set<() => void>>();
  readonly #idlers: (() => void)[] = [];
  #count = 0;
  #holdingOthers = 0;

  /** `holdsOthers`: the asker holds locks of folders that are not known. Pair with `remove`. */
  add(node: number, holdsOthers: boolean): void {
    this.#count++;
    this.#byNode.set(node, (this.#byNode.get(node) ?? 0) + 1);
    if (holdsOthers) {
      this.#holdingOthers++;
      for (const dir of [...this.#watchers.keys()]) this.#wake(dir);
      return;
    }
    this.#wake(node);
  }

  remove(node: number, holdsOthers: boolean): void {
    const left = (this.#byNode.get(node) ?? 0) - 1;
    if (left > 0) this.#byNode.set(node, left);
    else this.#byNode.delete(node);
    if (holdsOthers) this.#holdingOthers--;
    this.#count--;
    if (this.#count === 0) for (const wake of this.#idlers.splice(0)) wake();
  }

  /** Whether an unanswered request may hold the lock of this folder. */
  busy(dir: number): boolean {
    return this.#holdingOthers > 0 || this.#byNode.has(dir);
  }

  /**
   * A page of this folder was answered to this handle: the kernel may be taking its names in, and counts them to the
   * epoch of when it does, until it asks for the next page.
   */
  links(dir: number, handle: number): void {
    this.#linking.set(handle, dir);
  }

  /** The handle is asked about again: its last page was taken in. */
  linked(handle: number): void {
    this.#linking.delete(handle);
  }

  /** Folders whose names may be being taken in. */
  get linking(): ReadonlySet<number> {
    return new Set(this.#linking.values());
  }

  /** Calls `fn` when the folder gets busy, until the returned function is called. */
  onBusy(dir: number, fn: () => void): () => void {
    const watchers = this.#watchers.get(dir) ?? new Set();
    this.#watchers.set(dir, watchers.add(fn));
    return () => {
      watchers.delete(fn);
      if (watchers.size === 0 && this.#watchers.get(dir) === watchers) this.#watchers.delete(dir);
    };
  }

  /** Resolves when every request is answered. */
  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idlers.push(resolve));
  }

  #wake(dir: number): void {
    for (const fn of [...(this.#watchers.get(dir) ?? [])]) fn();
  }
}
