import type { ChainID, DiffID } from '../digest.js'

/** A layer in its place in a stack: the same change set on another parent is another one. */
export interface Layer {
  readonly chainId: ChainID
  readonly diffId: DiffID
  readonly parent: ChainID | undefined
  /** Bytes of the regular files that this layer alone brought. */
  readonly size: number
  /** The driver's id. */
  readonly cacheId: string
}

/** A container's copy-on-write layer. */
export interface WritableLayer {
  readonly name: string
  readonly parent: ChainID | undefined
  /** The driver's id. */
  readonly mountId: string
  /** The driver's id of the layer between this one and the parent, which dockerd makes for its containers. */
  readonly initId: string | undefined
}
