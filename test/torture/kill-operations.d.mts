import type { Store } from '#layerstack/index.js'

/** Paths of archives, and of a root filesystem's tar. */
export type Inputs = Readonly<Record<'base' | 'unneeded' | 'unnamed' | 'layered' | 'rootfs', string>>

export interface Operation {
  readonly run: (store: Store, inputs: Inputs) => Promise<unknown>
  /** A kill leaves the state before or the state after, nothing in between. @default false */
  readonly atomic?: boolean
  /** Ends what a kill left in between. @default run */
  readonly again?: (store: Store, inputs: Inputs) => Promise<unknown>
}

export const operations: Readonly<Record<string, Operation>>

/** Makes what the calls work on, all of it resolved. */
export function prepare(store: Store, inputs: Inputs): Promise<void>
