/** How a view of a layer is opened: host paths and flags. */
export interface OpenedLayer {
  readonly id: string
  readonly diff: string
  readonly work: string
  readonly merged: string
  /** Directories of the layers below, uppermost first. Set for the userspace engine only. */
  readonly lowers: readonly string[]
  /** The same directories by their short names in `l/`. The links may be broken. */
  readonly lowerLinks: readonly string[]
  readonly readOnly: boolean
  readonly volatile: boolean
}
