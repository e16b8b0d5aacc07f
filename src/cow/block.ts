/** Size of a block in bytes, the unit of everything in a store; see docs/cow-format.md. */
export const BLOCK = 4096

/** The number of a block on its device, from 0. */
export type Address = number

/** Consecutive blocks. */
export interface Run {
  readonly address: Address
  readonly length: number
}

/**
 * A device of numbered blocks. Offsets and lengths are in bytes.
 *
 * Calls are synchronous, except `flushLater`. Reads see earlier writes at once. A write is on disk when a flush that
 * began after it has ended.
 */
export interface BlockDevice {
  /** Names the device in damage reports: the path of a file, or the name of a volume. */
  readonly name: string
  /** Blocks that the device can hold; `Infinity` if it grows as it is written. */
  readonly capacity: number

  /** Fills the buffer. Bytes that were never written read as zeros. */
  read(buffer: Uint8Array, offset: number): void
  /** An urgent write completes a change that is already made, and may use the last free space. */
  write(bytes: Uint8Array, offset: number, urgent?: boolean): void
  /**
   * Throws `ENOSPC` if a few MiB might not fit. Only for devices that know their free space without a write. On other
   * devices, zeros are written where nodes will be, so that a lack of space shows in time.
   */
  makeRoom?(): void
  flush(): void
  flushLater(): Promise<void>
  /** Hints that the content of these bytes is no longer needed. */
  discard(offset: number, length: number): void
  close(): void
}
