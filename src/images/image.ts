import type { ChainID, DiffID, ImageID } from '../digest.js'
import type { HistoryEntry, ImageConfig } from './image-config.js'

/** A snapshot of an image at the time of the call. */
export interface Image {
  readonly id: ImageID
  /** Familiar references, sorted: `debian:12`. */
  readonly references: readonly string[]
  readonly config: ImageConfig
  /** Lowest first. */
  readonly layers: readonly DiffID[]
  /** ChainID of the whole stack; absent for an image without layers. */
  readonly chainId: ChainID | undefined
  /** Total bytes of regular files in all layers. */
  readonly size: number
  readonly created: Date | undefined
  readonly history: readonly HistoryEntry[]
}

/** An image with the additional fields of `docker image inspect`. */
export interface InspectedImage extends Image {
  /** The image that it was committed from, if it was committed in this store. */
  readonly parent: ImageID | undefined
  readonly graphDriver: {
    readonly name: string
    /** Where the driver stores the uppermost layer: the driver's `metadata`. */
    readonly data: Readonly<Record<string, string>>
  }
}
