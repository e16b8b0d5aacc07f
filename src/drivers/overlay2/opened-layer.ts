/** A layer as a view of it is opened: host paths, and how. */
export interface OpenedLayer {
  readonly id: string
  readonly diff: string
  readonly work: string
  readonly merged: string
  /** Directories of the layers below, uppermost first; for the userspace engine alone. */
  readonly lowers: readonly string[]
  /** The same ones under their names in `l/`, which are short; they may lead nowhere. */
  readonly lowerLinks: readonly string[]
  readonly readOnly: boolean
  readonly volatile: boolean
}
