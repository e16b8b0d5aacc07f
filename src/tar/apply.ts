import type { HostFsSpec } from '../fs/spec.js'

/** Where and how a layer's tar is applied, as plain data. */
export interface ApplyTarget {
  /** The tree that is written. */
  readonly files: HostFsSpec
  /**
   * - `merged`: the tree already holds the lower layers' content; a whiteout removes, an opaque marker empties.
   * - `overlay`: the tree holds this layer alone, as an overlayfs upper directory: whiteouts and opaque directories are
   *   recorded in it, and `lowers` are read for what an entry takes from below (implied parents, hard links).
   */
  readonly form: 'merged' | 'overlay'
  /** Uppermost first; empty for `merged`. */
  readonly lowers: readonly HostFsSpec[]
}
