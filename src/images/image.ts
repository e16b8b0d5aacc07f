import type { ChainID, DiffID, ImageID } from '../digest.js'
import type { HistoryEntry, ImageConfig } from './image-config.js'

/** An image, as it was when it was asked for. */
export interface Image {
  readonly id: ImageID
  /** Familiar texts, sorted: `debian:12`. */
  readonly references: readonly string[]
  readonly config: ImageConfig
  /** Lowest first. */
  readonly layers: readonly DiffID[]
  /** Of the whole stack; absent for an image without layers. */
  readonly chainId: ChainID | undefined
  /** Bytes of the regular files of all layers. */
  readonly size: number
  readonly created: Date | undefined
  readonly history: readonly HistoryEntry[]
}

/** What `docker image inspect` shows beyond that. */
export interface InspectedImage extends Image {
  /** The image that it was committed from, if that was here. */
  readonly parent: ImageID | undefined
  readonly graphDriver: {
    readonly name: string
    /** Where the driver keeps the uppermost layer: its `metadata`. */
    readonly data: Readonly<Record<string, string>>
  }
}
