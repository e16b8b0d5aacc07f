import type { DiffID, ImageID } from './digest.js'

/**
 * Progress events of a long call. `done` and `total` count bytes of uncompressed layer data unless noted otherwise.
 * `total` is absent if it cannot be known in advance.
 */
export type ProgressEvent =
  /** A layer of an archive or a tar is being unpacked into the store. `id` is the DiffID it claims, else its name. */
  | { readonly type: 'layer:unpack'; readonly id: string; readonly done: number; readonly total?: number }
  /** The layer already existed and was skipped unread. */
  | { readonly type: 'layer:exists'; readonly id: DiffID }
  /** The layer is durable in the store. */
  | { readonly type: 'layer:stored'; readonly id: DiffID; readonly size: number }
  /** A writable layer is being read for a commit or a diff. Counts bytes of the tar made from it. */
  | { readonly type: 'layer:commit'; readonly id: string; readonly done: number; readonly total?: number }
  /** A layer is being written to an archive. */
  | { readonly type: 'layer:save'; readonly id: DiffID; readonly done: number; readonly total?: number }
  /** Layers are being merged into one. */
  | { readonly type: 'layer:flatten'; readonly id: string; readonly done: number; readonly total?: number }
  /** An image's config is durable in the store, and its references point at it. */
  | { readonly type: 'image:stored'; readonly id: ImageID; readonly references: readonly string[] }

/** Receives the progress events of a call. */
export type ProgressListener = (event: ProgressEvent) => void
