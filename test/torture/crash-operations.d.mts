import type { Store } from '#layerstack/index.js'

/** A fact about a store after a call. For a `file`, `id` is the container and `value` the content. */
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

/** Whether the error is acceptable: the operation had nothing to pick, or a name or another process was in the way. */
export function isRefusal(error: unknown): boolean
