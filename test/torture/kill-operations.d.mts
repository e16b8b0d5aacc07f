import type { Store } from '#layerstack/index.js'

/** Paths of archives and of the tar of a root filesystem. */
export type Inputs = Readonly<Record<'base' | 'unneeded' | 'unnamed' | 'layered' | 'rootfs', string>>

export interface Operation {
  readonly run: (store: Store, inputs: Inputs) => Promise<unknown>
  /** A kill leaves the state before or after the call, never a state in between. @default false */
  readonly atomic?: boolean
  /** Completes the call after a kill. @default run */
  readonly again?: (store: Store, inputs: Inputs) => Promise<unknown>
}

export const operations: Readonly<Record<string, Operation>>

/** Creates the images and containers that the operations use. All of its calls resolve. */
export function prepare(store: Store, inputs: Inputs): Promise<void>
