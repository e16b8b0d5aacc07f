import type { ChainID, DiffID } from '../digest.js'

/** A layer in its place in a stack. The same change set on another parent is another layer. */
export interface Layer {
  readonly chainId: ChainID
  readonly diffId: DiffID
  readonly parent: ChainID | undefined
  /** Bytes of the regular files that this layer adds or changes. */
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
  /** The driver's id of the init layer, which dockerd puts between a container's layer and its parent. */
  readonly initId: string | undefined
}
