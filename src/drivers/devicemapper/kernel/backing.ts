export interface DeviceNumbers {
  readonly major: number
  readonly minor: number
}

/** What a pool of the driver's own is built on: two block devices. */
export interface Backing {
  /** Creates what can be recreated without loss. */
  make(): void
  open(readOnly: boolean): OpenBacking
  /** Reports whether a pool with this metadata device is built on this backing. */
  isBelow(metadata: DeviceNumbers): boolean
  /** Grows the devices to the current size of the storage below them. @returns bytes */
  grow(open: Pick<OpenBacking, 'metadata' | 'data'>): {
    readonly dataSize: bigint
    readonly metadataSize: bigint
  }
  /** Releases the devices, once the pool is removed. */
  retire(): void
}

export interface OpenBacking {
  readonly metadata: DeviceNumbers
  readonly data: DeviceNumbers
  /** In bytes. */
  readonly dataSize: bigint
  /** Called once the pool itself has the devices open. */
  close(): void
}
