import type { DiffID, ImageID } from './digest.js'

/**
 * What a long call reports while it runs. `done` and `total` count bytes of uncompressed layer data unless said
 * otherwise; `total` is absent where it cannot be known beforehand.
 */
export type ProgressEvent =
  /** A layer of an archive or of a tar is being unpacked into the store; `id` is the DiffID it claims, else its name. */
  | { readonly type: 'layer:unpack'; readonly id: string; readonly done: number; readonly total?: number }
  /** The layer was here already, and was skipped unread. */
  | { readonly type: 'layer:exists'; readonly id: DiffID }
  /** The layer is durable in the store. */
  | { readonly type: 'layer:stored'; readonly id: DiffID; readonly size: number }
  /** A writable layer is being read for a commit or a diff; counts bytes of the tar made of it. */
  | { readonly type: 'layer:commit'; readonly id: string; readonly done: number; readonly total?: number }
  /** A layer is being written to an archive. */
  | { readonly type: 'layer:save'; readonly id: DiffID; readonly done: number; readonly total?: number }
  /** Layers are being merged into one. */
  | { readonly type: 'layer:flatten'; readonly id: string; readonly done: number; readonly total?: number }
  /** An image's config is durable in the store, and its references point at it. */
  | { readonly type: 'image:stored'; readonly id: ImageID; readonly references: readonly string[] }

export type ProgressListener = (event: ProgressEvent) => void
