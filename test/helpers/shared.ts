/** What several tests of a file use, which costs more to start than what they prove: started for the first that asks. */
export function shared<T>(start: () => Promise<T>): () => Promise<T> {
  let started: Promise<T> | undefined;
  return () => (started ??= start());
}
