/** What the simulated programs write: cells that name the write they belong to, so that any byte says where it is from. */

/** Bytes of a cell: 8 of them are still small enough to stand in the metadata. */
export const CELL = 512;

/** A cell of zeros: a hole, or data that was lost. */
export const ZERO = 0;

/** The cells of one write; `first`: the index of the first. */
export function cellsOf(id: number, first: number, count: number): Buffer {
  const bytes = Buffer.alloc(count * CELL);
  for (let i = 0; i < count; i++) fill(bytes.subarray(i * CELL, (i + 1) * CELL), id, first + i);
  return bytes;
}

export interface Cell {
  /** Of the write; ZERO: all zeros. */
  readonly id: number;
  readonly index: number;
}

const expected = Buffer.alloc(CELL);
const zeros = Buffer.alloc(CELL);

/** The cells in these bytes; undefined where there is something that nobody ever wrote. */
export function readCells(bytes: Buffer): (Cell | undefined)[] {
  const cells: (Cell | undefined)[] = [];
  for (let at = 0; at < bytes.length; at += CELL) {
    const cell = bytes.subarray(at, at + CELL);
    if (cell.equals(zeros)) {
      cells.push({ id: ZERO, index: 0 });
      continue;
    }
    if (cell.length < CELL) {
      cells.push(undefined);
      continue;
    }
    const [id, index] = [cell.readUInt32LE(0), cell.readUInt32LE(4)];
    fill(expected, id, index);
    cells.push(cell.equals(expected) ? { id, index } : undefined);
  }
  return cells;
}

function fill(cell: Buffer, id: number, index: number): void {
  const word = (Math.imul(id, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) | 1;
  for (let at = 8; at < CELL; at += 4) cell.writeInt32LE(Math.imul(word, at) | 0, at);
  cell.writeUInt32LE(id, 0);
  cell.writeUInt32LE(index, 4);
}
