export interface DeviceNumbers {
  readonly major: number
  readonly minor: number
}

/** What a thin pool of our own stands on: two block devices. */
export interface Backing {
  /** Makes what can be made anew without loss. */
  make(): void
  open(readOnly: boolean): OpenBacking
  /** Whether a pool with its metadata there stands on this. */
  isBelow(metadata: DeviceNumbers): boolean
  /** Lets the devices be as large as what is below them has become. @returns bytes */
  grow(open: Pick<OpenBacking, 'metadata' | 'data'>): {
    readonly dataSize: bigint
    readonly metadataSize: bigint
  }
  /** Gives the devices up, after the pool is gone. */
  retire(): void
}

export interface OpenBacking {
  readonly metadata: DeviceNumbers
  readonly data: DeviceNumbers
  /** In bytes. */
  readonly dataSize: bigint
  /** The pool has the devices open by now. */
  close(): void
}
