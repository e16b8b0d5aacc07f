import type { ChainID, DiffID, ImageID } from '../digest.js'
import type { HistoryEntry, ImageConfig } from './image-config.js'

/** A snapshot of an image at the time of the call. */
export interface Image {
  /** The sha256 of the config's bytes. */
  readonly id: ImageID
  /** Names of the image in familiar form, sorted: `debian:12`. */
  readonly references: readonly string[]
  /** The parsed config. */
  readonly config: ImageConfig
  /** The DiffIDs of the layers, lowest first. */
  readonly layers: readonly DiffID[]
  /** ChainID of the whole stack; `undefined` for an image without layers. */
  readonly chainId: ChainID | undefined
  /** Total bytes of regular files in all layers. Layers that other images share count as well. */
  readonly size: number
  /** When the image was made, according to its config; `undefined` if that does not say. */
  readonly created: Date | undefined
  /** The steps that made the image, oldest first. */
  readonly history: readonly HistoryEntry[]
}

/** An image with the additional fields of `docker image inspect`. */
export interface InspectedImage extends Image {
  /** The image that it was committed from, if it was committed in this store. */
  readonly parent: ImageID | undefined
  /** The driver, and where it stores the uppermost layer. */
  readonly graphDriver: {
    /** The driver's name. */
    readonly name: string
    /** The driver's `metadata` of the uppermost layer; empty for an image without layers. */
    readonly data: Readonly<Record<string, string>>
  }
}
