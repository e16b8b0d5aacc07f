/** An image that has something odd in its layers. */
export interface OddLayer {
  /** What is odd. */
  readonly name: string
  /** The rule that decides, or where such layers come from. */
  readonly note: string
  /** Plain tars, the lowest first. */
  readonly layers: readonly Buffer[]
  /** The tree that they make, as `outlineOf` tells it. */
  readonly tree: readonly string[]
}

/** A layer that every driver refuses. */
export interface RefusedLayer {
  readonly name: string
  /** Plain tars, the lowest first; the last one is refused. */
  readonly layers: readonly Buffer[]
  readonly code: 'LAYER_INVALID' | 'ARCHIVE_CORRUPT' | 'ARCHIVE_TRUNCATED'
}
