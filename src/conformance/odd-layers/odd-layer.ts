/** An image with something odd in its layers. */
export interface OddLayer {
  /** What is odd. */
  readonly name: string
  /** The rule that decides the result, or the origin of such layers. */
  readonly note: string
  /** Uncompressed tars, lowest first. */
  readonly layers: readonly Buffer[]
  /** The tree that the layers make, as `outlineOf` shows it. */
  readonly tree: readonly string[]
}

/** A layer that every driver refuses. */
export interface RefusedLayer {
  /** What is wrong with it. */
  readonly name: string
  /** Uncompressed tars, lowest first. The last one is refused. */
  readonly layers: readonly Buffer[]
  /** The code of the `StoreError`. */
  readonly code: 'LAYER_INVALID' | 'ARCHIVE_CORRUPT' | 'ARCHIVE_TRUNCATED'
}
