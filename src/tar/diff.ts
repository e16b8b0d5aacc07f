import type { HostFsSpec, RawFsSpec } from '../fs/spec.js'

/** What to compare for a diff, as plain data. */
export type DiffSource =
  /** An overlayfs upper directory says itself what changed; `lowers` (uppermost first) tell adding from modifying. */
  | { readonly form: 'overlay'; readonly upper: HostFsSpec; readonly lowers: readonly HostFsSpec[] }
  /** Two whole trees, compared; without a `lower`, everything is new. */
  | { readonly form: 'compare'; readonly upper: RawFsSpec; readonly lower?: RawFsSpec }
