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
