import type { Store } from '#layerstack/index.js'

/** Something that holds of a store after a call. Of a `file`, `id` is the container and `value` the content. */
export interface Fact {
  readonly kind: 'image' | 'container' | 'tag' | 'file'
  readonly id: string
  readonly value?: string
}

export interface Changes {
  readonly set: readonly Fact[]
  readonly gone: readonly Fact[]
}

export type Operation = (
  store: Store,
  archives: readonly string[],
  pick: <T>(items: readonly T[]) => T,
) => Promise<Changes>

export const operations: Readonly<Record<string, Operation>>

/** Whether an operation may end so: it found nothing to pick, or another process or a name is in the way. */
export function isRefusal(error: unknown): boolean
