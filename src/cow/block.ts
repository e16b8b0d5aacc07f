/** The unit of everything in a store; see docs/cow-format.md. */
export const BLOCK = 4096

/** The number of a block on its device, from 0. */
export type Address = number

/** Blocks in a row. */
export interface Run {
  readonly address: Address
  readonly length: number
}

/**
 * Blocks by number. Calls are synchronous, but for `flushLater`; what was written is read back at once, and is on disk
 * when a flush that began after it has ended. Offsets and lengths are bytes.
 */
export interface BlockDevice {
  /** What damage is reported with: the path of a file, the name of a volume. */
  readonly name: string
  /** Blocks that it can hold; `Infinity` where it grows as it is written. */
  readonly capacity: number

  /** Fills the buffer; what was never written reads as zeros. */
  read(buffer: Uint8Array, offset: number): void
  /** An urgent write belongs to a change that is made already, and may take the last room that there is. */
  write(bytes: Uint8Array, offset: number, urgent?: boolean): void
  /**
   * For devices that know whether they have room without being written to: `ENOSPC` if some MiB might not fit. Others are
   * written zeros to, where nodes shall be, so that it shows in time.
   */
  makeRoom?(): void
  flush(): void
  flushLater(): Promise<void>
  /** The content of these bytes is not needed any more. A hint. */
  discard(offset: number, length: number): void
  close(): void
}
